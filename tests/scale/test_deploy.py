"""The files of `deploy/`: valid by the schemas of their tools, and consistent with the service and each other."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import kubernetes_validate
import pytest
import yaml

from config import Settings
from main import create_app
from tests.api import get
from tests.conftest import MakeSettings
from tests.haproxy import CONFIGURATION, needs_haproxy
from tests.scale.farm import haproxy_program
from tests.service_process import ROOT
from tests.serving import serve

DEPLOY = ROOT / "deploy"
OVERLAYS = ["single", "scaled"]
KUBERNETES_VERSION = "1.32"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
HAS_COMPOSE_PLUGIN = (
    shutil.which("docker") is not None
    and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
)
COMPOSE = ("docker", "compose") if HAS_COMPOSE_PLUGIN else ("docker-compose",)
needs_compose = pytest.mark.skipif(shutil.which(COMPOSE[0]) is None, reason="needs docker compose")

Manifest = dict[str, Any]


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def manifests(overlay: str) -> list[Manifest]:
    text = output_of(
        "kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(DEPLOY / "k8s" / "overlays" / overlay)
    )
    return [document for document in yaml.safe_load_all(text) if document]


def find(documents: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [it for it in documents if it["kind"] == kind and it["metadata"]["name"] == name]
    return found


def pod_of(manifest: Manifest) -> Manifest:
    pod: Manifest = manifest["spec"]["template"]["spec"]
    return pod


def environment(container: Manifest) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container["env"]}


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_are_valid(overlay: str) -> None:
    documents = manifests(overlay)
    for document in documents:
        if not document["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    assert len({(it["kind"], it["metadata"]["name"]) for it in documents}) == len(documents)


@needs_kubectl
def test_the_scaled_object_follows_kedas_schema() -> None:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    cache = Path(output_of(go, "env", "GOMODCACHE").strip()) if Path(go).exists() else Path("/nonexistent")
    found = sorted(cache.glob("github.com/kedacore/keda/v2@*/config/crd/bases/keda.sh_scaledobjects.yaml"))
    if not found:
        pytest.skip("needs KEDA's schema: go mod download github.com/kedacore/keda/v2@v2.17.2")
    definition = yaml.safe_load(found[-1].read_text())
    (version,) = [it for it in definition["spec"]["versions"] if it["name"] == "v1alpha1"]
    schema = _without_unknown_fields(version["schema"]["openAPIV3Schema"])
    jsonschema.validate(find(manifests("scaled"), "ScaledObject", "ollama-service"), schema)


def _without_unknown_fields(schema: Any) -> Any:
    """Return a schema that rejects fields that it does not name; Kubernetes would drop them silently."""
    if isinstance(schema, list):
        return [_without_unknown_fields(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _without_unknown_fields(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


@needs_kubectl
async def test_keda_asks_for_a_metric_that_the_service_has(
    make_settings: MakeSettings, client: aiohttp.ClientSession
) -> None:
    (trigger,) = find(manifests("scaled"), "ScaledObject", "ollama-service")["spec"]["triggers"]
    (name,) = re.findall(r"\w+_requests_\w+", trigger["metadata"]["query"])
    async with serve(create_app(make_settings())) as url:
        assert f"\n{name} " in (await get(client, f"{url}/metrics")).body.decode()


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_of_the_service_get_the_time_that_they_need_to_end(overlay: str) -> None:
    documents = manifests(overlay)
    settings = find(documents, "ConfigMap", "ollama-service")["data"]
    assert {name.lower() for name in settings} <= set(Settings.model_fields)
    pod = pod_of(find(documents, "Deployment", "ollama-service"))
    pre_stop = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = pre_stop + float(settings["SHUTDOWN_DELAY"]) + float(settings["SHUTDOWN_GRACE"])
    assert pod["terminationGracePeriodSeconds"] > needed + 5
    assert pod_of(find(documents, "StatefulSet", "ollama"))["terminationGracePeriodSeconds"] > needed


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_container_is_root_or_writes_to_its_image(overlay: str) -> None:
    for document in manifests(overlay):
        if "template" not in document.get("spec", {}):
            continue
        pod = pod_of(document)
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@needs_kubectl
def test_no_ollama_gets_more_than_its_slots() -> None:
    single, scaled = map(manifests, OVERLAYS)
    for documents in (single, scaled):
        (ollama,) = pod_of(find(documents, "StatefulSet", "ollama"))["containers"]
        slots = int(environment(ollama)["OLLAMA_NUM_PARALLEL"])
        settings = find(documents, "ConfigMap", "ollama-service")["data"]
        if documents is single:
            replicas = find(documents, "Deployment", "ollama-service")["spec"]["replicas"]
            assert replicas * int(settings["OLLAMA_MAX_CONNECTIONS"]) == slots
            continue
        haproxy = find(documents, "Deployment", "ollama-haproxy")
        (container,) = pod_of(haproxy)["containers"]
        assert haproxy["spec"]["replicas"] * int(environment(container)["OLLAMA_NUM_PARALLEL"]) == slots
        servers = find(documents, "StatefulSet", "ollama")["spec"]["replicas"]
        assert len([name for name in environment(container) if re.fullmatch(r"OLLAMA_\d", name)]) == servers


@needs_haproxy
@pytest.mark.parametrize("balance", ["least-connections", "by-model"])
def test_haproxy_accepts_its_configuration_though_no_name_is_known(
    balance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BALANCE", balance)
    for program in {"haproxy", haproxy_program() or "haproxy"}:
        output_of(program, "-c", "-f", str(CONFIGURATION))


def seconds_of(setting: str) -> float:
    assert setting.endswith("s")
    return float(setting.removesuffix("s"))


@needs_kubectl
def test_what_waits_in_haproxy_is_not_taken_for_a_stuck_model() -> None:
    documents = manifests("scaled")
    (container,) = pod_of(find(documents, "Deployment", "ollama-haproxy"))["containers"]
    settings = find(documents, "ConfigMap", "ollama-service")["data"]
    assert float(settings["OLLAMA_STUCK_AFTER"]) > seconds_of(environment(container)["QUEUE_TIMEOUT"])
    assert settings["OLLAMA_HEAL_STUCK"] == "false"


def compose_services(*options: str) -> Manifest:
    text = output_of(*COMPOSE, *options, "-f", str(DEPLOY / "compose.yaml"), "config")
    services: Manifest = yaml.safe_load(text)["services"]
    return services


@needs_compose
def test_compose_accepts_its_file() -> None:
    services = compose_services("--profile", "scale", "--profile", "prometheus")
    assert {"service", "ollama-1", "ollama-2", "pull-1", "pull-2", "haproxy", "prometheus"} == services.keys()
    settings = services["service"]["environment"]
    assert {name for name in settings if name.lower() in Settings.model_fields} == settings.keys()
    assert settings["OLLAMA_MAX_CONNECTIONS"] == services["ollama-1"]["environment"]["OLLAMA_NUM_PARALLEL"]


@needs_compose
def test_the_profile_of_two_ollamas_uses_haproxy_and_both() -> None:
    services = compose_services("--env-file", str(DEPLOY / "scale.env"))
    assert "COMPOSE_PROFILES=scale" in (DEPLOY / "scale.env").read_text().splitlines()
    written = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert {name for name, it in written.items() if "scale" in it.get("profiles", [])} == {
        "ollama-2",
        "pull-2",
        "haproxy",
    }
    settings, haproxy = services["service"]["environment"], services["haproxy"]["environment"]
    assert settings["OLLAMA_BASE_URL"] == "http://haproxy:11434"
    slots = [int(services[name]["environment"]["OLLAMA_NUM_PARALLEL"]) for name in ("ollama-1", "ollama-2")]
    assert slots == [int(haproxy["OLLAMA_NUM_PARALLEL"])] * 2
    assert int(settings["OLLAMA_MAX_CONNECTIONS"]) == sum(slots)
    assert float(settings["OLLAMA_STUCK_AFTER"]) > seconds_of(haproxy["QUEUE_TIMEOUT"])
    assert {settings["OLLAMA_HEAL_STUCK"], settings["READINESS_REQUIRES_OLLAMA"]} == {"false"}
    assert settings["UPSTREAM_MODEL_HEADER"] == "X-Model"
