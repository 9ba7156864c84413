# Ends the server when its workers keep dying before one of them was ready: a
# script that ends its process in init would be started over and over, until the
# probes have failed long enough.
def _guard():
    try:
        import mmap
        from gunicorn import config
        from gunicorn.errors import HaltServer
    except ImportError:
        return
    ready, deaths = mmap.mmap(-1, 1), []  # shared with the workers

    def is_ready(worker):
        ready[0] = 1

    def died(server, worker):
        if ready[0]:
            return
        deaths.append(worker.pid)
        if len(deaths) >= 3 * max(1, server.num_workers):
            server.log.error("The server's workers ended %d times before the scoring script was ready; giving up.", len(deaths))
            raise HaltServer("Worker failed to boot.", 3)

    config.PostWorkerInit.default = staticmethod(is_ready)
    config.ChildExit.default = staticmethod(died)


_guard()
