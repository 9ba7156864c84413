"""Stands in for `az ml`, whose extension is on no package index.

azure-ai-ml is the library inside that extension. This program takes the
commands and options of the how-to, loads its YAML files with the library's own
loaders and signs in as the extension does: with what `az` is signed in with.
Commands: online-endpoint create|show|update|invoke|delete,
online-deployment create|show|get-logs.
"""

import argparse
import configparser
import json
import os
import re
import sys

from azure.ai.ml import MLClient, load_online_deployment, load_online_endpoint
from azure.identity import AzureCliCredential


def defaults():
    """What `az configure --defaults` keeps, and the subscription of az."""
    folder = os.environ["AZURE_CONFIG_DIR"]
    config = configparser.ConfigParser()
    config.read(os.path.join(folder, "config"))
    with open(os.path.join(folder, "azureProfile.json"), encoding="utf-8-sig") as file:
        profile = json.load(file)
    subscription = next(s["id"] for s in profile["subscriptions"] if s["isDefault"])
    return subscription, config["defaults"]["group"], config["defaults"]["workspace"]


def overrides(pairs):
    """`--set a.b=c` and `--set a.b[0].c=d`, as the loaders take them."""
    result = []
    for pair in pairs or []:
        key, value = pair.split("=", 1)
        indexed = re.fullmatch(r"(.+)\[0\]\.(\w+)", key)
        result.append({indexed[1]: [{indexed[2]: value}]} if indexed else {key: value})
    return result


def show(entity):
    # The state comes back as the name of an enumeration's member.
    print(json.dumps({**entity._to_dict(), "provisioning_state": entity.provisioning_state}, default=str))


parser = argparse.ArgumentParser()
parser.add_argument("group")
parser.add_argument("command")
parser.add_argument("--name", "-n")
parser.add_argument("--endpoint-name")
parser.add_argument("--file", "-f")
parser.add_argument("--set", nargs="*", action="extend")
parser.add_argument("--all-traffic", action="store_true")
parser.add_argument("--traffic")
parser.add_argument("--request-file")
parser.add_argument("--yes", action="store_true")
parser.add_argument("--lines", "-l", type=int, default=1000)
args = parser.parse_args()

ml = MLClient(AzureCliCredential(), *defaults())


def set_traffic(endpoint_name, traffic):
    endpoint = ml.online_endpoints.get(endpoint_name)
    endpoint.traffic = traffic
    return ml.online_endpoints.begin_create_or_update(endpoint).result()


match args.group, args.command:
    case "online-endpoint", "create":
        changes = overrides(args.set) + ([{"name": args.name}] if args.name else [])
        show(ml.begin_create_or_update(load_online_endpoint(args.file, params_override=changes)).result())
    case "online-endpoint", "show":
        show(ml.online_endpoints.get(args.name))
    case "online-endpoint", "update":
        show(set_traffic(args.name, dict([args.traffic.split("=")])))
    case "online-endpoint", "invoke":
        print(ml.online_endpoints.invoke(endpoint_name=args.name, request_file=args.request_file))
    case "online-endpoint", "delete":
        ml.online_endpoints.begin_delete(name=args.name).result()
    case "online-deployment", "create":
        changes = overrides(args.set) + [{"endpoint_name": args.endpoint_name}, {"name": args.name}]
        show(ml.begin_create_or_update(load_online_deployment(args.file, params_override=changes)).result())
        if args.all_traffic:
            set_traffic(args.endpoint_name, {args.name: 100})
    case "online-deployment", "show":
        show(ml.online_deployments.get(endpoint_name=args.endpoint_name, name=args.name))
    case "online-deployment", "get-logs":
        print(ml.online_deployments.get_logs(endpoint_name=args.endpoint_name, name=args.name, lines=args.lines))
    case _:
        sys.exit(f"there is no ml {args.group} {args.command}")
