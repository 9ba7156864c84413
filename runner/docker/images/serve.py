# Starts the inference server for the script that AML_APP_ROOT and
# AZUREML_ENTRY_SCRIPT name, as its console script would.
import logging
import os
import sys

root = os.environ.setdefault("AML_APP_ROOT", "/var/azureml-app")
script = os.environ.get("AZUREML_ENTRY_SCRIPT")
if not script:
    sys.exit("AZUREML_ENTRY_SCRIPT is not set: there is no scoring script to serve")
if os.path.isdir(root):
    os.chdir(root)

sys.path[0] = os.path.dirname(sys.executable)
sys.argv = [os.path.join(sys.path[0], "azmlinfsrv"), "--entry_script", os.path.join(root, script), "--port", "5001"]

try:
    from azureml_inference_server_http import amlserver
except ImportError as ex:
    sys.exit("azureml-inference-server-http cannot be imported: %s" % ex)

try:  # nobody uses it, and it would need a folder to write to
    from gunicorn import config
    config.ControlSocketDisable.default = True
except (ImportError, AttributeError):
    pass

# The how-to's scripts call logging.info() without configuring anything and
# expect the line in get-logs; the server leaves the root logger at WARNING.
# Only levels are set, so a script's own basicConfig() still takes effect.
level = os.environ.get("AZUREML_LOG_LEVEL", "INFO").upper()
if isinstance(logging.getLevelName(level), int):
    logging.getLogger().setLevel(level)
    logging.lastResort.setLevel(level)

amlserver.run()
