"""What runbooks tell people to type, and what is wrong with it: programs, verbs, options, kinds, namespaces."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import typer

from components.onprem.names import OPERATORS, STORES
from components.platform.openings import Namespace
from ops.cli import COMMANDS

RUNBOOKS: Final = Path(__file__).resolve().parents[2] / "docs" / "runbooks"

# Plurals, singulars and short names, as the API server takes them.
_OF_A_NAMESPACE: Final = """
configmap cronjob daemonset deployment event events horizontalpodautoscaler hpa job jobs persistentvolumeclaim pvc pod
pods replicaset resourcequota secret service serviceaccount statefulset
application applications certificate certificaterequests challenges orders cronworkflow workflow workflows
workflowtemplate externalsecret externalsecrets inferenceservice inferenceservices jobsets jobs.batch.volcano.sh
podgroups prometheusrule pytorchjobs raycluster rayclusters rayjob rayjobs scaledobject scaledobjects trainjob trainjobs
backup backups backups.velero.io backupstoragelocation backupstoragelocations restore restores restores.velero.io
schedule schedules
clusters.postgresql.cnpg.io backups.postgresql.cnpg.io scheduledbackups.postgresql.cnpg.io
"""
_NAMESPACED: Final = frozenset(_OF_A_NAMESPACE.split())
_CLUSTER_WIDE: Final = "clusterissuer clustersecretstore namespace node nodes persistentvolume queue"
_OF_THE_CLUSTER: Final = frozenset(_CLUSTER_WIDE.split())

_SELECTS: Final = "-l --selector --field-selector"
_SHOWS: Final = f"{_SELECTS} -o --output --sort-by -L -w --watch --show-labels"
_WRITES: Final = "--dry-run -o"
# Options of each verb that runbooks may use; kubectl's own documents name more.
_KUBECTL: Final[Mapping[str, str]] = {
    "annotate": "--overwrite",
    "cordon": "",
    "create": f"{_WRITES} --from",
    "debug": "-i -t -it --image",
    "delete": f"{_SELECTS} --wait --ignore-not-found",
    "describe": _SELECTS,
    "drain": "--ignore-daemonsets --delete-emptydir-data --timeout",
    "exec": "-i -t -it -c --container",
    "get": f"{_SHOWS} --raw",
    "logs": f"{_SELECTS} -c --container --tail --since --previous --all-containers --all-pods --prefix --timestamps -f",
    "patch": "--type -p --patch",
    "port-forward": "",
    "rollout": "",
    "scale": "--replicas",
    "top": f"{_SELECTS} --sort-by --containers",
    "uncordon": "",
    "wait": f"{_SELECTS} --for --timeout",
}
_WITH_KINDS: Final = ("annotate", "delete", "describe", "get", "patch", "wait")
_TAKE_A_VALUE: Final = (
    "-n --namespace -l --selector --field-selector -o --output --sort-by -L -c --container --tail --since --type -p "
    "--patch --image --from --raw --for --timeout --replicas"
)
_WITH_VALUE: Final = frozenset(_TAKE_A_VALUE.split())

# Words that may follow the name of each other program.
_OTHERS: Final[Mapping[str, frozenset[str]]] = {
    "amtool": frozenset({"alert query", "alert add", "silence add", "silence expire", "check-config"}),
    "argo": frozenset({"get", "list", "logs", "resubmit", "retry", "stop", "submit", "terminate"}),
    "argocd": frozenset({"app get", "app rollback", "app sync"}),
    "cmctl": frozenset({"renew", "status certificate"}),
    "helm": frozenset({"history", "list", "rollback"}),
    "istioctl": frozenset({"proxy-status", "proxy-config"}),
    "pulumi": frozenset({"up", "preview", "refresh", "stack", "config", "cancel"}),
    "ray": frozenset({"job stop", "job list", "list workers"}),
    "velero": frozenset(
        f"{noun} {verb}"
        for noun, verbs in {
            "backup": "create describe get logs",
            "restore": "create describe get logs",
            "schedule": "describe get pause unpause",
            "backup-location": "get",
        }.items()
        for verb in verbs.split()
    ),
}
_INSIDE: Final = "base64 du df grep head openssl sort tail jq py-spy nvidia-smi curl"
_FILTERS: Final = frozenset(_INSIDE.split())

_FILLED_IN: Final = "CLAIM CLUSTER CONTAINER HEAD JOB MODEL MOUNT NAME NODE NS POD QUEUE RELEASE RETRIEVAL RUN STACK"
VARIABLES: Final = frozenset(_FILLED_IN.split())
"""What stands for something that the reader knows: mostly a label of the alert."""

# Of a foundation whose stores run in the cluster.
_OF_STORES: Final = frozenset({OPERATORS, STORES})
_NAMESPACES: Final = frozenset({*get_args(Namespace), *_OF_STORES, "kube-system", "$NS"})
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROMQL: Final = re.compile(r"(sum|topk|rate|max|min|count|histogram_quantile|increase|avg)( by)? ?\(")
_METRIC: Final = re.compile(
    r"(DCGM_FI_|vllm:|argo_workflows_|llmops_|kube_|scrape_|container_|velero_|alertmanager_)\w+(\{.*\})?|up\{.*"
)
_OF_LOKI: Final = re.compile(r"bytes_rate|\|=")


@dataclass(frozen=True)
class Said:
    """Something to type, or to ask Prometheus.

    Attributes:
        page: Name of the page.
        text: As it stands there, on one line.
    """

    page: str
    text: str


def commands(page: str, text: str) -> list[Said]:
    """Command lines of a page: the lines of its blocks, and spans that begin with a program."""
    lines = [line for kind, block in _BLOCK.findall(text) if kind == "sh" for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", text))]
    programs = ("kubectl ", *(f"{name} " for name in (*_OTHERS, "python")))
    return [Said(page, line) for line in (*lines, *(one for one in spans if one.startswith(programs))) if line.strip()]


def expressions(page: str, text: str) -> list[Said]:
    """PromQL of a page, names of single series among it."""
    lines = [line for kind, block in _BLOCK.findall(text) if kind == "promql" for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", text))]
    asked = [one for one in spans if _PROMQL.match(one) or _METRIC.fullmatch(one)]
    return [Said(page, line) for line in (*lines, *asked) if line.strip() and not _OF_LOKI.search(line)]


def problems(line: str) -> list[str]:
    """What is wrong with a command line; empty where a person can type it."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>()")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as error:
        return [f"a shell does not read it: {error}"]
    found = [f"a shell takes {word} for something else" for word in words if set(word) & set("<>()") and len(word) < 3]
    found += [f"nobody says what ${name} is" for name in re.findall(r"\$(\w+)", line) if name not in VARIABLES]
    for command in _split(words):
        found += _problems(command)
    return found


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set(";|&"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def _problems(words: list[str]) -> list[str]:
    program, *rest = words
    if program == "kubectl":
        return list(_of_kubectl(rest))
    if program == "python":
        return list(_of_ops(rest))
    if program in _OTHERS:
        plain = [word for word in _without_values(rest) if not word.startswith("-")]
        if not any(" ".join(plain[:count]) in _OTHERS[program] for count in (1, 2)):
            return [f"{program} has no {' '.join(plain[:2])}"]
        return list(_namespaces(rest))
    return [] if program in _FILTERS else [f"no program {program} is known"]


def _without_values(words: list[str]) -> list[str]:
    """The words that no option takes."""
    found: list[str] = []
    skip = False
    for word in words:
        if not skip:
            found.append(word)
        skip = not skip and word in _WITH_VALUE
    return found


def _namespaces(words: list[str]) -> Iterator[str]:
    for flag, value in itertools.pairwise(words):
        if flag in ("-n", "--namespace") and value not in _NAMESPACES:
            yield f"no namespace {value}"


def _of_kubectl(words: list[str]) -> Iterator[str]:
    inside = words[words.index("--") + 1 :] if "--" in words else []
    told = words[: words.index("--")] if inside else words
    yield from _namespaces(told)
    plain = _without_values(told)
    verb, *rest = [word for word in plain if not word.startswith("-")] or [""]
    if verb not in _KUBECTL:
        yield f"kubectl has no {verb}"
        return
    allowed = {"-n", "--namespace", "-A", "--all-namespaces", *_KUBECTL[verb].split()}
    yield from (f"kubectl {verb} has no {word}" for word in _options(plain) if word not in allowed)
    if inside:
        yield from _problems_inside(inside)
    if verb not in _WITH_KINDS or "--raw" in plain:
        return
    if not rest:
        yield f"kubectl {verb} names no kind"
        return
    kinds = [kind.partition("/")[0] for kind in rest[0].split(",")]
    yield from (f"no kind {kind}" for kind in kinds if kind not in _NAMESPACED | _OF_THE_CLUSTER)
    everywhere = {"-n", "--namespace", "-A", "--all-namespaces"} & set(told)
    if not everywhere and any(kind in _NAMESPACED for kind in kinds):
        yield f"{rest[0]} is looked for in the namespace default"


def _options(plain: list[str]) -> Iterator[str]:
    for word in plain:
        if word.startswith("-") and word != "-":
            yield word.partition("=")[0]


def _problems_inside(words: list[str]) -> list[str]:
    return [] if words and (words[0] in _FILTERS or words[0] in _OTHERS) else [f"no program {words[:1]} in the pod"]


def _of_ops(words: list[str]) -> Iterator[str]:
    if words[:2] != ["-m", "ops"]:
        yield f"no module {words[1:2]}"
        return
    name, *rest = words[2:] or [""]
    if name not in COMMANDS:
        yield f"ops has no {name}"
        return
    import importlib

    target: Any = getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].attribute)
    if not isinstance(target, typer.Typer):
        return
    command: Any = typer.main.get_command(target)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            yield f"ops {name} has no {rest[0]}"
            return
        command, rest = command.commands[rest[0]], rest[1:]
    if hasattr(command, "commands") and len(command.commands) and not getattr(command, "invoke_without_command", False):
        if rest or len(words) > 3:
            yield f"ops {name} needs one of {', '.join(command.commands)}"
        return
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    yield from (f"ops {name} has no {word}" for word in _options(rest) if word not in known)
