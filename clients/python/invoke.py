"""Invoking takes the right to the credential the endpoint's mode uses."""

import json
import sys

from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential

import howto

client_id, secret, object_id, tenant, *names = sys.argv[1:]
clients = howto.Clients()
ml = clients.ml
clients.grant("Reader", f"/subscriptions/{howto.SUBSCRIPTION}/resourceGroups/{howto.GROUP}", object_id)
narrow = MLClient(ClientSecretCredential(tenant, client_id, secret), howto.SUBSCRIPTION, howto.GROUP, howto.WORKSPACE)

report = {}
for name, mode in zip(names, ["key", "aml_token"]):
    ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode=mode)).result()
    report[mode + " shown"] = narrow.online_endpoints.get(name).auth_mode
    for what, call in {
        "invoked": lambda: narrow.online_endpoints.invoke(endpoint_name=name, request_file=howto.REQUEST),
        "credentials": lambda: narrow.online_endpoints.get_keys(name),
    }.items():
        try:
            call()
            report[f"{mode} {what}"] = "done"
        except HttpResponseError as error:
            report[f"{mode} {what}"] = f"{error.error.code if error.error else error}: {error.message}"
    ml.online_endpoints.begin_delete(name=name).result()

print()  # the dots of progress have no end of line
print(json.dumps(report))
