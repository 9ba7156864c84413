"""Sends az ml YAML files as azure-ai-ml reads them, and waits for no deployment.

argv: the files; those named endpoint* are endpoints.
"""

import json
import os
import sys

from azure.ai.ml import load_online_deployment, load_online_endpoint

import howto

ml = howto.Clients().ml
for path in sys.argv[1:]:
    if os.path.basename(path).startswith("endpoint"):
        ml.online_endpoints.begin_create_or_update(load_online_endpoint(path)).result()
    else:
        ml.online_deployments.begin_create_or_update(load_online_deployment(path), skip_script_validation=True)
print("\n" + json.dumps({"sent": len(sys.argv) - 1}), flush=True)
os._exit(0)  # the pollers' threads would go on, and print dots
