"""Deploys again and again and says between what was done.

argv: endpoint, account (with the container and the file), folder of a private
copy of the samples that this script may edit.
Each step's name is printed and a line is waited for, so that who started this
can look at what went over the wire.
"""

import os
import sys

from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, ManagedOnlineEndpoint, Model

import howto

endpoint_name, account_name, samples = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml
online = os.path.join(samples, "endpoints", "online")
code = os.path.join(online, "model-1", "onlinescoring")


def deploy():
    route = {"port": 8080, "path": "/health/live"}
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint_name,
        model=Model(path=os.path.join(online, "model-1", "model")),
        code_configuration=CodeConfiguration(code=code, scoring_script="score_rest.py"),
        environment=Environment(
            image=os.environ["SCORER_IMAGE"],
            inference_config={
                "liveness_route": route,
                "readiness_route": route,
                "scoring_route": {"port": 8080, "path": "/score"},
            },
        ),
        instance_type="Standard_DS3_v2",
        instance_count=1,
        environment_variables={
            "STORAGE_ACCOUNT_NAME": account_name,
            "STORAGE_CONTAINER_NAME": howto.CONTAINER,
            "FILE_NAME": howto.FILE,
        },
    )
    ml.online_deployments.begin_create_or_update(deployment).result()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def done(step):
    print("\n" + step, flush=True)  # after the progress dots of azure-ai-ml
    sys.stdin.readline()


account = clients.make_storage(account_name)
ml.begin_create_or_update(ManagedOnlineEndpoint(name=endpoint_name, auth_mode="key")).result()
clients.grant("Storage Blob Data Reader", account.id, ml.online_endpoints.get(endpoint_name).identity.principal_id)
done("prepared")

deploy()
done("first")

deploy()
done("unchanged")

with open(os.path.join(code, "score_rest.py"), "a", encoding="utf-8") as file:
    file.write("\n# edited\n")
deploy()
done("code edited")

write(os.path.join(online, "model-1", "model", "notes.txt"), "edited\n")
deploy()
done("model edited")

write(os.path.join(code, ".amlignore"), "secret.txt\n")
write(os.path.join(code, "secret.txt"), "not for the cloud\n")
deploy()
done("ignored")

write(os.path.join(code, "secret.txt"), "still not for the cloud\n")
deploy()
done("ignored edited")

ml.online_endpoints.begin_delete(name=endpoint_name).result()
clients.storage.storage_accounts.delete(howto.GROUP, account_name)
