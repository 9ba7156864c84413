"""The how-to with a system-assigned identity, defined by objects."""

import sys

from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, ManagedOnlineEndpoint, Model
from azure.core.exceptions import ResourceNotFoundError

import howto

endpoint_name, account_name = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml

endpoint = ManagedOnlineEndpoint(name=endpoint_name, auth_mode="key")
deployment = ManagedOnlineDeployment(
    name="blue",
    endpoint_name=endpoint_name,
    model=Model(path=howto.MODEL),
    code_configuration=CodeConfiguration(code=howto.CODE, scoring_script="score_managedidentity.py"),
    environment=Environment(conda_file=howto.CONDA, image=howto.IMAGE),
    instance_type="Standard_DS2_v2",
    instance_count=1,
    environment_variables={
        "STORAGE_ACCOUNT_NAME": account_name,
        "STORAGE_CONTAINER_NAME": howto.CONTAINER,
        "FILE_NAME": howto.FILE,
    },
)

account = clients.make_storage(account_name)

created = ml.begin_create_or_update(endpoint).result()
identity = ml.online_endpoints.get(endpoint_name).identity

# The storage role may be missing: then the script's traceback is the answer.
refused = ""
try:
    ml.online_deployments.begin_create_or_update(deployment).result()
except Exception as error:  # the class is what the test looks at
    refused = f"{type(error).__name__}: {error}"
failed = ml.online_deployments.get(endpoint_name=endpoint_name, name="blue").provisioning_state
ml.online_deployments.begin_delete(endpoint_name=endpoint_name, name="blue").result()

assignment = clients.grant("Storage Blob Data Reader", account.id, identity.principal_id)

deployed = ml.online_deployments.begin_create_or_update(deployment).result()
status = ml.online_deployments.get(endpoint_name=endpoint_name, name="blue")
log = ml.online_deployments.get_logs(endpoint_name=endpoint_name, name="blue", lines=1000)
init_log = ml.online_deployments.get_logs(
    endpoint_name=endpoint_name, name="blue", lines=1000, container_type="storage-initializer"
)

endpoint = ml.online_endpoints.get(endpoint_name)
endpoint.traffic = {"blue": 100}
traffic = ml.begin_create_or_update(endpoint).result().traffic

score = ml.online_endpoints.invoke(endpoint_name=endpoint_name, request_file=howto.REQUEST)

ml.online_endpoints.begin_delete(name=endpoint_name).result()
clients.storage.storage_accounts.delete(howto.GROUP, account_name)

try:
    ml.online_endpoints.get(endpoint_name)
    left = True
except ResourceNotFoundError:
    left = False

howto.report(
    state=created.provisioning_state,
    identity=identity.type,
    refused=refused,
    failed=failed,
    principalType=assignment.principal_type,
    deployed=deployed.provisioning_state,
    status=status.provisioning_state,
    log=log,
    initLog=init_log,
    traffic=traffic,
    score=score,
    left=left,
)
