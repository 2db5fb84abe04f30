"""The gateways, each with its shipped snippet: how it is started and reloaded."""

import os
import re
import signal
import subprocess
from pathlib import Path

from common import ANSWER_MAX_S, START_MAX_S, Process, ask, free_port, until

SNIPPETS = Path(__file__).parents[2] / "host/docs/gateways"


class Gateway:
    """One gateway in front of one upstream, as a person would set it up from the manual."""

    name = ""
    # What is copied into its folder; the first is the main file.
    snippets = ()
    # How long it waits for keyward, by its snippet; a busy machine may add to it.
    waits_s = 15
    is_grpc = False
    # It can be reloaded while it serves.
    reloads = False
    # How many connections it may end before it has read anything, while it is reloaded.
    unread_max_share = 0.0
    # It takes away headers that begin with keyward's prefix, and not only those that keyward sets.
    strips_any_name = True

    def __init__(self, folder, keyward_port, upstream_port):
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        folder.mkdir()
        folder.chmod(0o755)
        ports = {"8000": self.port, "8180": keyward_port, "8080": upstream_port, "2019": self.admin}
        found = set()
        for name in self.snippets:
            text = (SNIPPETS / name).read_text()
            found |= set(re.findall(r"\b(8000|8180|8080)\b", text))
            text = re.sub(r"\b(8000|8180|8080|2019)\b", lambda it: str(ports[it[1]]), text)
            text = re.sub(r"/etc/(haproxy|apache2|traefik)/", f"{folder}/", text)
            (folder / name).write_text(text)
        assert found == {"8000", "8180", "8080"}, f"{self.snippets} have only {found}"
        self.main = folder / self.snippets[0]
        self.process = None

    def start(self):
        self.prepare()
        self.process = Process(self.command(), self.folder, self.environment())
        self.process.await_port(self.port)
        # Traefik listens before it has routes.
        until(f"{self.name} serves", lambda: ask(self.port, "/").status not in (0, 404))

    def prepare(self):
        pass

    def environment(self):
        return {"HOME": str(self.folder)}

    def end(self):
        if self.process:
            self.process.end()

    def version(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def reload(self):
        raise NotImplementedError


def output(*command):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_MAX_S)
    return ended.stdout + ended.stderr


class Nginx(Gateway):
    name = "nginx"
    snippets = ("nginx.conf",)
    reloads = True
    strips_any_name = False
    MAIN = """daemon off; pid {0}/pid; error_log stderr warn; worker_processes 2; {1}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;
    uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
    include {0}/nginx.conf;
}}
"""

    # What an operator may do to the configuration, and what `keyward doctor gateway` says then.
    LOOSE = ("aliases", "client-address", "connection", "forged-names", "odd-lines")
    LOOSENED = {
        "proxy_set_header X-Keyward-Subject $keyward_subject;": "",
        "underscores_in_headers off;": "underscores_in_headers on;",
        "proxy_set_header X-Forwarded-For $remote_addr;": "",
    }

    def version(self):
        return output("nginx", "-v").split("/")[-1].strip()

    def loosen(self):
        tight = self.main.read_text()
        loose = tight
        for line, instead in self.LOOSENED.items():
            assert line in loose, line
            loose = loose.replace(line, instead)
        self.main.write_text(loose)
        self.end()
        try:
            self.start()
        finally:
            self.main.write_text(tight)

    def tighten(self):
        self.end()
        self.start()

    def prepare(self):
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "main.conf").write_text(self.MAIN.format(self.folder, user))

    def command(self):
        return ["nginx", "-p", self.folder, "-e", "stderr", "-c", self.folder / "main.conf"]

    def reload(self):
        self.process.signal(signal.SIGHUP)


class Caddy(Gateway):
    name = "Caddy"
    binary = "caddy"
    snippets = ("Caddyfile",)
    reloads = True
    unread_max_share = 0.01  # as host/docs/gateways.md says

    def version(self):
        return re.search(r"[0-9.]+", output(self.binary, "version"))[0]

    def environment(self):
        return {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder),
                "XDG_CONFIG_HOME": str(self.folder)}

    def command(self):
        return [self.binary, "run", "--config", self.main]

    def reload(self):
        # Without --force an unchanged configuration is not loaded.
        ended = subprocess.run(
            [self.binary, "reload", "--force", "--config", self.main, "--address",
             f"127.0.0.1:{self.admin}"], capture_output=True, text=True, timeout=ANSWER_MAX_S,
        )
        assert ended.returncode == 0, ended.stderr


class CaddyNew(Caddy):
    binary = os.environ.get("GATEWAYS_CADDY", "")


class HAProxy(Gateway):
    name = "HAProxy"
    snippets = ("haproxy.cfg", "keyward.lua")
    waits_s = 25  # it asks four times
    reloads = True

    def version(self):
        return re.search(r"version ([0-9.]+)", output("haproxy", "-v"))[1]

    def command(self):
        return ["haproxy", "-W", "-f", self.main]

    def reload(self):
        self.process.signal(signal.SIGUSR2)


class Apache(Gateway):
    name = "Apache"
    snippets = ("apache.conf", "keyward-apache.lua")
    reloads = True
    MODULES = "mpm_event authz_core lua headers proxy proxy_http".split()

    def version(self):
        return re.search(r"Apache/([0-9.]+)", output("apache2", "-v"))[1]

    def prepare(self):
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        modules = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in self.MODULES
        )
        (self.folder / "main.conf").write_text(
            f"ServerRoot {self.folder}\nDefaultRuntimeDir {self.folder}\nPidFile pid\n"
            f"ServerName localhost\nErrorLog {self.folder}/error.log\n{modules}{user}"
            f"Include {self.main}\n"
        )

    def command(self):
        return ["apache2", "-f", self.folder / "main.conf", "-DFOREGROUND"]

    def reload(self):
        self.process.signal(signal.SIGUSR1)


class EnvoyHttp(Gateway):
    name = "Envoy HTTP"
    snippets = ("envoy-http.yaml",)

    def version(self):
        return re.search(r"/([0-9.]+)/", output(os.environ["GATEWAYS_ENVOY"], "--version"))[1]

    def command(self):
        return [os.environ["GATEWAYS_ENVOY"], "-c", self.main, "--concurrency", "2", "--log-level",
                "warning", "--use-dynamic-base-id"]


class EnvoyGrpc(EnvoyHttp):
    name = "Envoy gRPC"
    snippets = ("envoy-grpc.yaml",)
    is_grpc = True


class Traefik(Gateway):
    name = "Traefik"
    snippets = ("traefik.yaml", "traefik-dynamic.yaml")
    waits_s = 45  # it has 30 s of its own, which cannot be changed

    def version(self):
        said = output(os.environ["GATEWAYS_TRAEFIK"], "version")
        return re.search(r"Version:\s+([0-9.]+)", said)[1]

    def command(self):
        return [os.environ["GATEWAYS_TRAEFIK"], "--configfile", self.main]


ALL = [Nginx, Caddy, CaddyNew, HAProxy, Apache, EnvoyHttp, EnvoyGrpc, Traefik]
