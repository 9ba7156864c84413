"""The how-to with a user-assigned identity, defined by its YAML files."""

import os
import sys

from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.msi.models import Identity

import howto

endpoint_name, account_name, identity_name = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml
identities = ManagedServiceIdentityClient(clients.credential, howto.SUBSCRIPTION)
folder = os.path.join(howto.ENDPOINTS, "managed", "managed-identities")

identities.user_assigned_identities.create_or_update(howto.GROUP, identity_name, Identity(location=clients.location))
uai = identities.user_assigned_identities.get(howto.GROUP, identity_name)

account = clients.make_storage(account_name)

endpoint = load_online_endpoint(
    os.path.join(folder, "1-uai-create-endpoint.yml"),
    params_override=[
        {"name": endpoint_name},
        {"identity.user_assigned_identities": [{"resource_id": uai.id}]},
    ],
)
created = ml.begin_create_or_update(endpoint).result()

workspace = ml.workspaces.get(howto.WORKSPACE)
for role, scope in [
    ("Storage Blob Data Reader", account.id),
    ("AcrPull", workspace.container_registry),
    ("Storage Blob Data Reader", workspace.storage_account),
]:
    clients.grant(role, scope, uai.principal_id, "ServicePrincipal")
assigned = sorted(
    a.scope.rsplit("/", 1)[-1]
    for a in clients.assignments.role_assignments.list_for_subscription(filter=f"principalId eq '{uai.principal_id}'")
)

deployment = load_online_deployment(
    os.path.join(folder, "2-uai-deployment.yml"), params_override=[{"endpoint_name": endpoint_name}]
)
deployment.environment_variables["STORAGE_ACCOUNT_NAME"] = account_name
deployment.environment_variables["STORAGE_CONTAINER_NAME"] = howto.CONTAINER
deployment.environment_variables["FILE_NAME"] = howto.FILE
deployment.environment_variables["UAI_CLIENT_ID"] = uai.client_id
deployed = ml.online_deployments.begin_create_or_update(deployment).result()
log = ml.online_deployments.get_logs(endpoint_name=endpoint_name, name="blue", lines=1000)

endpoint = ml.online_endpoints.get(endpoint_name)
endpoint.traffic = {"blue": 100}
traffic = ml.begin_create_or_update(endpoint).result().traffic
score = ml.online_endpoints.invoke(endpoint_name=endpoint_name, request_file=howto.REQUEST)

# As the notebook does it: the endpoint's deletion is not waited for.
poller = ml.online_endpoints.begin_delete(name=endpoint_name)
clients.storage.storage_accounts.delete(howto.GROUP, account_name)
identities.user_assigned_identities.delete(howto.GROUP, identity_name)
poller.result()

try:
    identities.user_assigned_identities.get(howto.GROUP, identity_name)
    left = True
except ResourceNotFoundError:
    left = False

howto.report(
    state=created.provisioning_state,
    identity=created.identity.type,
    assigned=assigned,
    deployed=deployed.provisioning_state,
    log=log,
    traffic=traffic,
    score=score,
    left=left,
)
