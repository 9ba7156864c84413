# Runs azmlinfsrv as its console script does, on sockets the emulator bound.
# Left alone it asks gunicorn for 0.0.0.0.
import logging
import os
import sys

sys.path[0] = os.path.dirname(sys.executable)
sys.argv[0] = os.path.join(sys.path[0], "azmlinfsrv")
os.environ["LISTEN_PID"] = str(os.getpid())

try:
    from azureml_inference_server_http import amlserver, constants
except ImportError as ex:
    sys.exit("azureml-inference-server-http cannot be imported: %s" % ex)

amlserver.DEFAULT_HOST = constants.DEFAULT_HOST = "127.0.0.1"

try:  # its path is too long for a socket in deep folders, and nobody uses it
    from gunicorn import config
    config.ControlSocketDisable.default = True
except AttributeError:
    pass

# The how-to's scripts call logging.info() without configuring anything and
# expect the line in get-logs; the server leaves the root logger at WARNING.
# Only levels are set, so a script's own basicConfig() still takes effect.
level = os.environ.get("AZUREML_LOG_LEVEL", "INFO").upper()
if isinstance(logging.getLevelName(level), int):
    logging.getLogger().setLevel(level)
    logging.lastResort.setLevel(level)

amlserver.run()
