"""An environment that a Dockerfile makes, with azure-ai-ml:
    python build.py ENDPOINT CONTEXT_FOLDER [DOCKERFILE_PATH]
The last line printed is a JSON object that says how it went."""

import json
import os
import sys
import tempfile

from azure.ai.ml import MLClient
from azure.ai.ml.entities import BuildContext, Environment, ManagedOnlineDeployment, ManagedOnlineEndpoint, ProbeSettings
from azure.identity import DefaultAzureCredential

endpoint, context = sys.argv[1:3]
ml = MLClient(
    DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], os.environ["AZURE_RESOURCE_GROUP"], os.environ["AZURE_ML_WORKSPACE"]
)
ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=endpoint, auth_mode="key")).result()
route = lambda path: {"port": 8080, "path": path}  # noqa: E731
environment = Environment(
    name=endpoint + "-env",
    build=BuildContext(path=context, dockerfile_path=sys.argv[3] if len(sys.argv) > 3 else None),
    inference_config={"liveness_route": route("/"), "readiness_route": route("/"), "scoring_route": route("/score")},
)
probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=90)
deployed = ml.online_deployments.begin_create_or_update(
    ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        environment=environment,
        instance_type="Standard_DS3_v2",
        instance_count=1,
        liveness_probe=probe,
        readiness_probe=probe,
    )
).result()
with tempfile.NamedTemporaryFile("w", suffix=".json") as request:
    request.write("{}")
    request.flush()
    answer = ml.online_endpoints.invoke(endpoint, deployment_name="blue", request_file=request.name)
log = ml.online_deployments.get_logs("blue", endpoint, 100, container_type="storage-initializer")
print()
print(json.dumps({"deployed": deployed.provisioning_state, "answer": answer, "log": log}))
