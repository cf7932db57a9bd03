"""The YAML files: known keys, places that fit each other, commands that are understood."""

import math
import os
import subprocess

import yaml
from machine import LAUNCH

from jaxedit.editor.__main__ import make_parser
from jaxedit.serve import options
from jaxedit.train import command

JOBSET = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
BATCH = yaml.safe_load((LAUNCH / "batch_gke.yaml").read_text())
DEPLOYMENT, SERVICE = yaml.safe_load_all((LAUNCH / "serve_kubernetes.yaml").read_text())
SKY = yaml.safe_load((LAUNCH / "sky.yaml").read_text())
JOB = JOBSET["spec"]["replicatedJobs"][0]["template"]["spec"]
POD = JOB["template"]["spec"]
CONTAINER = POD["containers"][0]
FINAL = (0, 1, 2, 3)

# Keys as the schemas of JobSet v1alpha2 and of Kubernetes 1.30 to 1.36 have them; `*` is any item
# of a list or any label.
AT_JOB = "spec.replicatedJobs.*.template.spec"
AT_POD = f"{AT_JOB}.template.spec"
KEYS = {
    *("apiVersion", "kind", "metadata.name", "metadata.annotations.*"),
    *("spec.ttlSecondsAfterFinished", "spec.failurePolicy.maxRestarts"),
    *(f"spec.failurePolicy.rules.*.{key}" for key in ("name", "action", "onJobFailureReasons.*")),
    *(f"spec.replicatedJobs.*.{key}" for key in ("name", "replicas")),
    *(
        f"{AT_JOB}.{key}"
        for key in ("completionMode", "parallelism", "completions", "backoffLimit")
    ),
    f"{AT_JOB}.podFailurePolicy.rules.*.action",
    *(
        f"{AT_JOB}.podFailurePolicy.rules.*.onExitCodes.{key}"
        for key in ("containerName", "operator", "values.*")
    ),
    *(f"{AT_POD}.{key}" for key in ("restartPolicy", "terminationGracePeriodSeconds")),
    *(f"{AT_POD}.{key}" for key in ("hostNetwork", "dnsPolicy", "nodeSelector.*")),
    *(f"{AT_POD}.tolerations.*.{key}" for key in ("key", "operator")),
    *(f"{AT_POD}.containers.*.{key}" for key in ("name", "image", "command.*", "args.*")),
    *(f"{AT_POD}.containers.*.env.*.{key}" for key in ("name", "value")),
    f"{AT_POD}.containers.*.securityContext.privileged",
    f"{AT_POD}.containers.*.ports.*.containerPort",
    f"{AT_POD}.containers.*.resources.limits.*",
}
KEYS_OF_BATCH = {
    *(f"spec.replicatedJobs.*.dependsOn.*.{key}" for key in ("name", "status")),
    f"{AT_JOB}.backoffLimitPerIndex",
    *(f"{AT_POD}.volumes.*.{key}" for key in ("name", "persistentVolumeClaim.claimName")),
    *(f"{AT_POD}.containers.*.volumeMounts.*.{key}" for key in ("name", "mountPath")),
}


def paths(value, prefix=""):
    """The path of every leaf; keys that contain dots or slashes are labels."""
    if isinstance(value, list):
        return {path for item in value for path in paths(item, f"{prefix}*.")}
    if isinstance(value, dict):
        keys = {key: "*" if set(key) & set("./") else key for key in value}
        return {
            path for key, name in keys.items() for path in paths(value[key], f"{prefix}{name}.")
        }
    return {prefix.removesuffix(".")}


def test_the_jobset_has_known_keys_only():
    assert paths(JOBSET) <= KEYS
    assert paths({"spec": {"failurePolicy": {"maxRestart": 1}}}).isdisjoint(KEYS)


def test_hosts_and_chips_fit_the_slice():
    sides = POD["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    hosts = math.prod(map(int, sides)) // CONTAINER["resources"]["limits"]["google.com/tpu"]
    assert JOB["parallelism"] == JOB["completions"] == hosts == 16
    assert JOB["completionMode"] == "Indexed" and POD["restartPolicy"] == "Never"
    assert POD["terminationGracePeriodSeconds"] >= 120


def test_what_the_jobset_does_with_exit_codes():
    [rule] = JOB["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"  # which fails the whole, for that reason:
    [policy] = JOBSET["spec"]["failurePolicy"]["rules"]
    assert policy["action"] == "FailJobSet"
    assert policy["onJobFailureReasons"] == ["PodFailurePolicy"]
    codes = {"containerName": CONTAINER["name"], "operator": "In", "values": list(FINAL[1:])}
    assert rule["onExitCodes"] == codes
    # any other failure fails the job for another reason, and that starts all of them again
    assert JOB["backoffLimit"] == 0 and JOBSET["spec"]["failurePolicy"]["maxRestarts"] == 100


def test_the_jobset_starts_a_training():
    assert CONTAINER["command"] == ["python", "-m", "jaxedit.train"]
    assert command.parse(["train", *CONTAINER["args"]]).workdir.startswith("gs://")


def test_a_list_is_made_by_shards_and_then_as_a_whole():
    assert paths(BATCH) <= KEYS | KEYS_OF_BATCH
    shards, whole = (job["template"]["spec"] for job in BATCH["spec"]["replicatedJobs"])
    assert BATCH["spec"]["replicatedJobs"][1]["dependsOn"] == [
        {"name": "shards", "status": "Complete"}
    ]
    pods = [job["template"]["spec"] for job in (shards, whole)]
    [of_shard], [of_whole] = (pod["containers"] for pod in pods)
    assert shards["completionMode"] == "Indexed" and pods[0]["volumes"] == pods[1]["volumes"]
    environment = {item["name"]: item["value"] for item in of_shard["env"]}
    assert shards["completions"] == int(environment["SHARDS"]) >= shards["parallelism"]
    assert of_whole["command"] == ["python", "-m", "jaxedit"]
    assert of_whole["args"] == of_shard["args"]
    args = make_parser().parse_args(of_whole["args"])
    (mount,) = of_shard["volumeMounts"]
    assert args.batch.startswith(mount["mountPath"]) and args.output.startswith(mount["mountPath"])


def test_what_a_shard_runs(machine):
    """Bad rows, exit code 2, are left to the last job; a crash is not."""
    [container] = BATCH["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ]
    environment = os.environ | {"SHARDS": "16", "JOB_COMPLETION_INDEX": "3"}
    environment["PATH"] = f"{machine.directory / 'bin'}:{os.environ['PATH']}"
    for code, expected in ((0, 0), (2, 0), (137, 1)):
        machine.add("python", f"exit {code}")
        line = [*container["command"], *container["args"]]
        assert subprocess.run(line, env=environment).returncode == expected
    calls = machine.calls("python")
    assert calls == 3 * [["-m", "jaxedit", *container["args"], "--shard=3/16"]]


def test_the_deployment_serves_and_drains():
    pod = DEPLOYMENT["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "jaxedit.serve"]
    config = options.parse(container["args"], "").config
    assert config.host == "0.0.0.0" and pod["terminationGracePeriodSeconds"] > config.timeout
    (mount,) = container["volumeMounts"]
    assert config.api_key_file.startswith(f"{mount['mountPath']}/")
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": config.port}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": config.port}
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == SERVICE["spec"]["selector"] == labels
    assert SERVICE["spec"]["ports"] == [{"port": 80, "targetPort": config.port}]


def test_the_sky_task_has_known_keys_only():
    assert set(SKY) == {"name", "resources", "workdir", "envs", "setup", "run"}
    resources = SKY["resources"]
    assert set(resources) == {"infra", "accelerators", "use_spot", "disk_size", "job_recovery"}
    recovery = resources["job_recovery"]
    assert 42 in recovery["recover_on_exit_codes"] and recovery["max_restarts_on_errors"] == 0
    assert not set(FINAL) & set(recovery["recover_on_exit_codes"])
    assert SKY["workdir"] == "." and SKY["envs"]["WORKDIR"] is None  # one has to be given


def test_what_the_sky_task_runs(machine):
    os.symlink(LAUNCH, machine.directory / "launch")
    (machine.directory / ".venv/bin").mkdir(parents=True)
    machine.add("python", 'echo "$JAX_COORDINATOR_ADDRESS $JAX_NUM_PROCESSES $JAX_PROCESS_ID"')
    (machine.directory / ".venv/bin/python").symlink_to(machine.directory / "bin/python")
    nodes = {"NODE_IPS": "10.0.0.1\n10.0.0.2", "NUM_NODES": "2", "NODE_RANK": "1"}
    environment = SKY["envs"] | {"WORKDIR": "gs://bucket/a b"}
    environment |= {f"SKYPILOT_{name}": value for name, value in nodes.items()}
    done = subprocess.run(
        ["bash", "-c", SKY["run"]],
        env=os.environ | environment,
        cwd=machine.directory,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "10.0.0.1:9876 2 1\n" and not done.stderr
    [call] = machine.calls("python")
    assert call[:2] == ["-m", "jaxedit.train"]
    assert command.parse(call[1:]).workdir == "gs://bucket/a b"
