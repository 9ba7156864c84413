"""A workspace made by azure-ai-ml, which sends a template, used and deleted."""

import json
import sys

from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint, Workspace
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

import howto

name, endpoint_name = sys.argv[1:]
client = MLClient(DefaultAzureCredential(), howto.SUBSCRIPTION, howto.GROUP)

made = client.workspaces.begin_create(Workspace(name=name, location="eastus", display_name="Mine", tags={"made": "here"})).result()
found = client.workspaces.get(name)
again = client.workspaces.begin_create(Workspace(name=name, location="eastus", tags={"made": "twice"})).result()

inside = MLClient(DefaultAzureCredential(), howto.SUBSCRIPTION, howto.GROUP, name)
store = inside.datastores.get_default()
endpoint = inside.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=endpoint_name)).result()
inside.online_endpoints.begin_delete(name=endpoint_name).result()

client.workspaces.begin_delete(name, delete_dependent_resources=True).result()
try:
    client.workspaces.get(name)
    left = True
except ResourceNotFoundError:
    left = False

print()  # the client's dots of progress have no end of line
print(
    json.dumps(
        {
            "name": made.name,
            "display": found.display_name,
            "tags": {k: v for k, v in found.tags.items() if k != "createdByToolkit"},
            "retagged": again.tags.get("made"),
            "storage": found.storage_account.split("/")[-2],
            "vault": found.key_vault.split("/")[-2],
            "insights": found.application_insights.split("/")[-2],
            "registry": found.container_registry,
            "store": [store.name, store.account_name == found.storage_account.split("/")[-1]],
            "endpoint": endpoint.provisioning_state,
            "left": left,
        }
    )
)
