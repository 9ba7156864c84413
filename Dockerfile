# The emulator as an image. `make image` builds the programs, puts them into a
# folder with what else is copied here, and builds this: nothing is pulled.
FROM scratch
COPY amlocal amlocal-agent /usr/local/bin/
COPY ca-certificates.crt /etc/ssl/certs/
COPY tmp /tmp
ENV PATH=/usr/local/bin HOME=/data XDG_DATA_HOME=/data AMLOCAL_CACHE=/data/cache
# State, certificate authority and caches. Commands run here find the state:
# docker exec CONTAINER amlocal status
WORKDIR /data
VOLUME /data
EXPOSE 4390
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["amlocal", "status"]
ENTRYPOINT ["amlocal"]
# Inside the container all addresses; who reaches the port is for the engine's
# own publishing to say.
CMD ["up", "--runner", "docker", "--listen", "0.0.0.0"]
