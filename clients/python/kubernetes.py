"""The how-to's endpoint on an attached Kubernetes cluster: key, token, failures."""

import os
import sys
import tempfile

import requests
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    KubernetesCompute,
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    Model,
    ProbeSettings,
    ResourceRequirementsSettings,
    ResourceSettings,
)
from azure.core.exceptions import ResourceNotFoundError

import howto

compute_name, cluster_name, account_name = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml
cluster = (
    f"/subscriptions/{howto.SUBSCRIPTION}/resourceGroups/{howto.GROUP}"
    f"/providers/Microsoft.ContainerService/managedClusters/{cluster_name}"
)
environment = Environment(conda_file=howto.CONDA, image=howto.IMAGE)

attached = ml.compute.begin_attach(KubernetesCompute(name=compute_name, resource_id=cluster, namespace="ml")).result()
read = ml.compute.get(compute_name)
listed = [c.name for c in ml.compute.list()]

account = clients.make_storage(account_name)
probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=60)


def deployment(endpoint, name, code, script, **more):
    return KubernetesOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        code_configuration=CodeConfiguration(code=code, scoring_script=script),
        environment=environment,
        instance_count=1,
        readiness_probe=probe,
        liveness_probe=probe,
        **more,
    )


def served(mode):
    """An endpoint of one auth mode with the sample model behind it."""
    name = f"py-kube-{mode.replace('_', '-')}"
    ml.begin_create_or_update(KubernetesOnlineEndpoint(name=name, compute=compute_name, auth_mode=mode)).result()
    endpoint = ml.online_endpoints.get(name)
    clients.grant("Storage Blob Data Reader", account.id, endpoint.identity.principal_id)
    made = ml.online_deployments.begin_create_or_update(
        deployment(
            name,
            "blue",
            howto.CODE,
            "score_managedidentity.py",
            model=Model(path=howto.MODEL),
            instance_type="defaultinstancetype",
            resources=ResourceRequirementsSettings(
                requests=ResourceSettings(cpu="0.1", memory="0.5Gi"), limits=ResourceSettings(cpu="1", memory="2Gi")
            ),
            environment_variables={
                "STORAGE_ACCOUNT_NAME": account_name,
                "STORAGE_CONTAINER_NAME": howto.CONTAINER,
                "FILE_NAME": howto.FILE,
            },
        )
    ).result()
    endpoint.traffic = {"blue": 100}
    endpoint = ml.begin_create_or_update(endpoint).result()
    score = ml.online_endpoints.invoke(endpoint_name=name, request_file=howto.REQUEST)
    return endpoint, made, score


def refused(call):
    try:
        call()
    except Exception as error:  # the class and text are what the test looks at
        return f"{type(error).__name__}: {error}"
    return ""


def broken(endpoint, name, source):
    """What a deployment of this scoring script fails with."""
    with tempfile.TemporaryDirectory() as code:
        with open(os.path.join(code, "score.py"), "w") as script:
            script.write(source)
        return refused(
            lambda: ml.online_deployments.begin_create_or_update(deployment(endpoint, name, code, "score.py")).result()
        )


endpoint, made, score = served("key")
token_endpoint, _, token_score = served("aml_token")
log = ml.online_deployments.get_logs(endpoint_name=endpoint.name, name="blue", lines=1000)
again = ml.online_deployments.get(endpoint_name=endpoint.name, name="blue")
aad = refused(
    lambda: ml.begin_create_or_update(
        KubernetesOnlineEndpoint(name="py-kube-aad", compute=compute_name, auth_mode="aad_token")
    ).result()
)

failures = {
    "init": broken(endpoint.name, "bad-init", "def init():\n    raise ValueError('no luck')\n\ndef run(data):\n    return data\n"),
    "import": broken(endpoint.name, "bad-import", "import nowhere\n\ndef init():\n    pass\n\ndef run(data):\n    return data\n"),
    "function": broken(endpoint.name, "bad-function", "def init():\n    pass\n"),
    "run": broken(
        endpoint.name, "raises", "def init():\n    pass\n\ndef run(data):\n    raise ValueError('not this data')\n"
    ),
}
key = ml.online_endpoints.get_keys(endpoint.name).primary_key
raised = requests.post(
    endpoint.scoring_uri,
    headers={"Authorization": f"Bearer {key}", "azureml-model-deployment": "raises"},
    json={"data": []},
    timeout=30,
)
stranger = requests.post(endpoint.scoring_uri, headers={"Authorization": "Bearer no-key"}, json={}, timeout=30)

for one in (endpoint, token_endpoint):
    ml.online_endpoints.begin_delete(name=one.name).result()
ml.compute.begin_delete(compute_name, action="Detach").result()
try:
    ml.compute.get(compute_name)
    left = True
except ResourceNotFoundError:
    left = False
clients.storage.storage_accounts.delete(howto.GROUP, account_name)

howto.report(
    attached=attached.provisioning_state,
    namespace=read.namespace,
    resource=read.resource_id,
    listed=listed,
    kind=type(endpoint).__name__,
    compute=endpoint.compute,
    uri=endpoint.scoring_uri,
    traffic=endpoint.traffic,
    deployed=made.provisioning_state,
    limits=[again.resources.limits.cpu, again.resources.limits.memory, again.resources.requests.memory],
    instanceType=again.instance_type,
    log=log,
    score=score,
    tokenScore=token_score,
    aad=aad,
    raised=raised.status_code,
    stranger=stranger.status_code,
    left=left,
    **{f"fails_{name}": text for name, text in failures.items()},
)
