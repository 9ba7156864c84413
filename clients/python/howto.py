"""What both flows of the how-to share: the setup cells of its notebooks.

Nothing here knows of the emulator. Settings are the usual AZURE_* variables;
the sample files are those of the samples repository's layout, in SAMPLES.
"""

import json
import os
import sys
import uuid
from dataclasses import dataclass, field

from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.authorization.v2020_10_01_preview.models import RoleAssignmentCreateParameters
from azure.mgmt.storage import StorageManagementClient
from azure.mgmt.storage.models import BlobContainer, Sku, StorageAccountCreateParameters
from azure.storage.blob import ContainerClient

SUBSCRIPTION = os.environ["AZURE_SUBSCRIPTION_ID"]
GROUP = os.environ["AZURE_RESOURCE_GROUP"]
WORKSPACE = os.environ["AZURE_ML_WORKSPACE"]

ENDPOINTS = os.path.join(os.environ["SAMPLES"], "endpoints", "online")
MODEL = os.path.join(ENDPOINTS, "model-1", "model")
CODE = os.path.join(ENDPOINTS, "model-1", "onlinescoring")
CONDA = os.path.join(ENDPOINTS, "model-1", "environment", "conda-managedidentity.yml")
REQUEST = os.path.join(ENDPOINTS, "model-1", "sample-request.json")
HELLO = os.path.join(ENDPOINTS, "managed", "managed-identities", "hello.txt")
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
CONTAINER = "hello-world-container"
FILE = "hello.txt"


@dataclass
class Clients:
    """The clients the notebooks make, signed in once."""

    credential: DefaultAzureCredential = field(default_factory=DefaultAzureCredential)

    def __post_init__(self):
        self.ml = MLClient(self.credential, SUBSCRIPTION, GROUP, WORKSPACE)
        self.storage = StorageManagementClient(self.credential, SUBSCRIPTION)
        # The notebooks use these two old api-versions side by side.
        self.definitions = AuthorizationManagementClient(self.credential, SUBSCRIPTION, api_version="2018-01-01-preview")
        self.assignments = AuthorizationManagementClient(self.credential, SUBSCRIPTION, api_version="2020-10-01-preview")
        self.location = self.ml.workspaces.get(WORKSPACE).location

    def make_storage(self, name):
        """The account, its container and hello.txt; returns the account."""
        account = self.storage.storage_accounts.begin_create(
            GROUP, name, StorageAccountCreateParameters(sku=Sku(name="Standard_LRS"), kind="Storage", location=self.location)
        ).result()
        self.storage.blob_containers.create(GROUP, name, CONTAINER, BlobContainer())
        key = self.storage.storage_accounts.list_keys(GROUP, name).keys_property[0].value
        with ContainerClient(account.primary_endpoints.blob, CONTAINER, credential=key) as container:
            with open(HELLO, "rb") as hello:
                container.upload_blob(FILE, hello)
        return account

    def grant(self, role, scope, principal_id, principal_type=None):
        """Assign a role by its name, found as the notebooks find it."""
        definition = next(d for d in self.definitions.role_definitions.list(scope) if d.role_name == role)
        return self.assignments.role_assignments.create(
            scope,
            str(uuid.uuid4()),
            RoleAssignmentCreateParameters(
                role_definition_id=definition.id, principal_id=principal_id, principal_type=principal_type
            ),
        )


def report(**values):
    """The last line of standard output says how it went."""
    sys.stdout.flush()
    print("\n" + json.dumps(values))
