"""The access matrix: what it reads from a state, and that its checks bite."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest

from ops import access_page
from ops.access_matrix import ServiceAccount, read
from ops.access_problems import problems

pytestmark = pytest.mark.unit

ISSUER = "oidc.eks.us-east-1.amazonaws.com/id/ABC"
KEY = "arn:aws:kms:us-east-1:123456789012:key/objects"
OTHER_KEY = "arn:aws:kms:us-east-1:123456789012:key/other"
BUCKET = "arn:aws:s3:::backups"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-AbCdEf"
SECRETS_KEY = "arn:aws:kms:us-east-1:123456789012:key/secrets"


def _resource(token: str, name: str, inputs: dict[str, Any], **outputs: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:prod::llmops::{token}::{name}"
    return {"urn": urn, "type": token, "id": f"{name}-id", "inputs": inputs, "outputs": {**inputs, **outputs}}


def _role(name: str, *subjects: str, operator: str = "StringEquals") -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {operator: {f"{ISSUER}:sub": [f"system:serviceaccount:{subject}" for subject in subjects]}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return _resource("aws:iam/role:Role", name, {"assumeRolePolicy": document}, arn=_arn(name))


def _arn(role: str) -> str:
    return f"arn:aws:iam::123456789012:role/{role}"


def _policy(role: str, *statements: dict[str, Any]) -> dict[str, Any]:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return _resource("aws:iam/rolePolicy:RolePolicy", f"{role}-policy", {"role": f"{role}-id", "policy": document})


def _allow(*actions: str, on: str | Sequence[str], **conditions: dict[str, Any]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, "Condition": conditions}


def _velero(annotations: dict[str, str]) -> dict[str, Any]:
    values = {"serviceAccount": {"server": {"name": "velero", "annotations": annotations}}}
    inputs = {"chart": "velero", "namespace": "velero", "values": values}
    return _resource("kubernetes:helm.sh/v3:Release", "platform-velero", inputs)


def _encrypted(bucket: str, key: str) -> list[dict[str, Any]]:
    rules = [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}}]
    kind = "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    return [
        _resource("aws:s3/bucket:Bucket", bucket, {"bucket": bucket}, arn=f"arn:aws:s3:::{bucket}"),
        _resource(f"aws:s3/{kind}", f"{bucket}-encryption", {"bucket": f"{bucket}-id", "rules": rules}),
    ]


def _state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"deployment": {"resources": list(resources)}}


OBJECTS = _allow("s3:GetObject", "s3:PutObject", on=f"{BUCKET}/*")
THE_KEY = _allow(
    "kms:Decrypt",
    "kms:GenerateDataKey",
    on=[KEY],
    StringEquals={"kms:ViaService": "s3.us-east-1.amazonaws.com"},
    StringLike={"kms:EncryptionContext:aws:s3:arn": [BUCKET, f"{BUCKET}/*"]},
)


def _backups(*statements: dict[str, Any]) -> dict[str, Any]:
    """A stack whose Velero may do what ``statements`` say, with a bucket and a secret under keys of their own."""
    return _state(
        _role("backups", "velero:velero"),
        _policy("backups", *statements),
        _velero({"eks.amazonaws.com/role-arn": _arn("backups")}),
        _resource("aws:kms/key:Key", "objects-key", {}, arn=KEY),
        _resource("aws:secretsmanager/secret:Secret", "token", {"kmsKeyId": SECRETS_KEY}, arn=SECRET),
        *_encrypted("backups", KEY),
    )


def test_a_chart_with_its_role_and_data_with_its_key_is_all_well():
    state = _backups(OBJECTS, THE_KEY)
    assert problems(state) == []
    (role,) = read(state).roles
    assert role.trusted == (ServiceAccount(namespace="velero", name="velero"),)


def test_objects_without_their_key_are_found_and_named():
    first, second = problems(_backups(OBJECTS))
    assert first == "backups: objects of backups without kms:Decrypt on their key objects-key"
    assert "kms:GenerateDataKey" in second


def _without(statement: dict[str, Any], action: str) -> dict[str, Any]:
    return {**statement, "Action": [one for one in statement["Action"] if one != action]}


@pytest.mark.parametrize(
    ("key_statement", "missing"),
    [
        (_without(THE_KEY, "kms:Decrypt"), ["kms:Decrypt"]),
        (_without(THE_KEY, "kms:GenerateDataKey"), ["kms:GenerateDataKey"]),
        ({**THE_KEY, "Resource": [OTHER_KEY]}, ["kms:Decrypt", "kms:GenerateDataKey"]),
        ({**THE_KEY, "Effect": "Deny"}, ["kms:Decrypt", "kms:GenerateDataKey"]),
        (
            {**THE_KEY, "Condition": {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}},
            ["kms:Decrypt", "kms:GenerateDataKey"],
        ),
        (
            {**THE_KEY, "Condition": {"StringLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::backups2*"}}},
            ["kms:Decrypt", "kms:GenerateDataKey"],
        ),
    ],
    ids=["no decrypt", "no data key", "another key", "a refusal", "another service", "another bucket's objects"],
)
def test_a_key_grant_that_does_not_fit_its_data_is_no_key_grant(key_statement: dict[str, Any], missing: list[str]):
    found = problems(_backups(OBJECTS, key_statement))
    assert [next(action for action in ("kms:Decrypt", "kms:GenerateDataKey") if action in line) for line in found] == (
        missing
    )


@pytest.mark.parametrize("resource", ["*", "arn:aws:s3:::*", "arn:aws:s3:::back*", f"{BUCKET}/cluster/*"])
def test_objects_behind_a_wildcard_or_below_a_prefix_need_the_key_too(resource: str):
    assert problems(_backups({**OBJECTS, "Resource": resource}))


def test_reading_asks_for_no_key_to_write_with():
    assert problems(_backups(_allow("s3:GetObject", on=f"{BUCKET}/*"), _without(THE_KEY, "kms:GenerateDataKey"))) == []


def test_listing_a_bucket_needs_no_key():
    assert problems(_backups(_allow("s3:ListBucket", on=BUCKET))) == []


def test_a_secret_without_its_key_is_found():
    read_it = _allow("secretsmanager:GetSecretValue", on=[SECRET])
    of_it = {"StringEquals": {"kms:EncryptionContext:SecretARN": [SECRET]}}
    assert problems(_backups(read_it)) == [f"backups: secret token without kms:Decrypt on its key {SECRETS_KEY}"]
    assert problems(_backups(read_it, _allow("kms:Decrypt", on=[SECRETS_KEY], **of_it))) == []


def _mutated(state: dict[str, Any], name: str, change: Any) -> dict[str, Any]:
    changed = copy.deepcopy(state)
    (one,) = [one for one in changed["deployment"]["resources"] if one["urn"].endswith(f"::{name}")]
    change(one)
    return changed


def _account(resource: dict[str, Any]) -> dict[str, Any]:
    return resource["inputs"]["values"]["serviceAccount"]["server"]


def test_a_role_that_nobody_is_given_is_found_and_so_is_the_chart_that_has_none():
    state = _mutated(_backups(), "platform-velero", lambda one: _account(one).update(annotations={}))
    assert problems(state) == [
        "backups: no service account uses this role of velero/velero",
        "platform-velero: velero writes backups and snapshots, and none of its service accounts has a role",
    ]


def test_a_role_of_nobody_is_found():
    gone = {"eks.amazonaws.com/role-arn": _arn("gone")}
    state = _mutated(_backups(), "platform-velero", lambda one: _account(one).update(annotations=gone))
    assert any("which is no role of this stack" in line for line in problems(state))


@pytest.mark.parametrize("subject", ["velero:velero-server", "backup:velero"])
def test_a_role_for_another_name_or_namespace_is_found(subject: str):
    state = _state(_role("backups", subject), _velero({"eks.amazonaws.com/role-arn": _arn("backups")}))
    namespace, name = subject.split(":")
    assert problems(state) == [f"platform-velero: velero/velero is given backups, which trusts {namespace}/{name}"]


def test_a_role_for_more_than_one_service_account_is_found():
    role = _role("backups", "velero:*", operator="StringLike")
    found = problems(_state(role, _velero({"eks.amazonaws.com/role-arn": _arn("backups")})))
    assert "backups: it trusts velero/*, which is more than one service account" in found


def test_a_role_without_a_subject_in_its_trust_is_found():
    role = _role("backups", "velero:velero")
    document = json.loads(role["inputs"]["assumeRolePolicy"])
    document["Statement"][0]["Condition"] = {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}}
    role["inputs"]["assumeRolePolicy"] = json.dumps(document)
    found = problems(_state(role, _velero({"eks.amazonaws.com/role-arn": _arn("backups")})))
    assert any("which is more than one service account" in line for line in found)


def test_a_role_of_a_service_is_no_pods_business():
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    inputs = {"assumeRolePolicy": json.dumps({"Statement": [trust]})}
    assert read(_state(_resource("aws:iam/role:Role", "nodes", inputs, arn=_arn("nodes")))).roles == ()


@pytest.mark.parametrize(
    ("chart", "kind", "spec"),
    [
        ("cert-manager", "ClusterIssuer", {"acme": {"solvers": [{"dns01": {"route53": {"hostedZoneID": "Z1"}}}]}}),
        ("external-secrets", "ClusterSecretStore", {"provider": {"aws": {"service": "SecretsManager"}}}),
    ],
)
def test_a_chart_that_a_custom_resource_sends_to_the_cloud_needs_a_role(chart: str, kind: str, spec: dict[str, Any]):
    release = _resource("kubernetes:helm.sh/v3:Release", "platform-it", {"chart": chart, "namespace": chart})
    told = _resource("kubernetes:example/v1:It", "told", {"kind": kind, "metadata": {"name": "platform"}, "spec": spec})
    assert problems(_state(release)) == []
    (line,) = problems(_state(release, told))
    assert line.startswith(f"platform-it: {chart} is told so by {kind} platform")


def test_an_add_on_and_a_service_account_of_the_program_give_roles_as_charts_do():
    addon = _resource(
        "aws:eks/addon:Addon", "ebs", {"addonName": "aws-ebs-csi-driver", "serviceAccountRoleArn": _arn("ebs")}
    )
    metadata = {"name": "job", "namespace": "team", "annotations": {"eks.amazonaws.com/role-arn": _arn("job")}}
    account = _resource("kubernetes:core/v1:ServiceAccount", "job", {"metadata": metadata})
    state = _state(_role("ebs", "kube-system:ebs-csi-controller-sa"), _role("job", "team:job"), addon, account)
    assert problems(state) == []
    assert {str(use.account) for use in read(state).uses} == {"kube-system/*", "team/job"}


def test_policies_that_are_attached_count_as_those_that_are_inline():
    own = _resource(
        "aws:iam/policy:Policy", "own", {"policy": json.dumps({"Statement": OBJECTS})}, arn="arn:aws:iam::1:policy/own"
    )
    attached = [
        _resource("aws:iam/rolePolicyAttachment:RolePolicyAttachment", name, {"role": "backups-id", "policyArn": arn})
        for name, arn in (("a", "arn:aws:iam::1:policy/own"), ("b", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"))
    ]
    state = _backups()
    state["deployment"]["resources"] += [own, *attached]
    (role,) = read(state).roles
    assert [permission.actions for permission in role.permissions] == [("s3:GetObject", "s3:PutObject")]
    assert role.managed == ("AmazonEKS_CNI_Policy",)


def test_the_page_says_actions_resources_and_conditions_in_words():
    page = access_page.render(_backups(OBJECTS, THE_KEY))
    assert "### `velero/velero`" in page
    assert "| S3: get object; put object | bucket *backups* `/*` |  |" in page
    assert "| KMS: decrypt; generate data key | key *objects-key* |" in page
    assert "`kms:ViaService` is `s3.us-east-1.amazonaws.com`" in page
    assert "arn:aws:iam" not in page


def test_the_page_has_nothing_that_is_drawn_at_random():
    """Else the page of the next account, or of the next run, would differ without a change."""
    group = _allow("ec2:AuthorizeSecurityGroupIngress", on="arn:aws:ec2:us-east-1:1:security-group/sg-0a1b2c3d4e")
    state = _backups(OBJECTS, THE_KEY, group)
    cluster = _resource("aws:eks/cluster:Cluster", "it", {}, vpcConfig={"clusterSecurityGroupId": "sg-0a1b2c3d4e"})
    state["deployment"]["resources"].append(cluster)
    page = access_page.render(state)

    other = json.dumps(state).replace("key/objects", "key/0a1b2c").replace("sg-0a1b2c3d4e", "sg-ffffffffff")
    assert access_page.render(json.loads(other)) == page
    assert "security group of *it*" in page


def test_bindings_say_who_may_do_what_and_where():
    metadata = {"name": "engineers", "namespace": "team"}
    role = _resource(
        "kubernetes:rbac.authorization.k8s.io/v1:Role",
        "role",
        {"metadata": metadata, "rules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]}]},
    )
    binding = _resource(
        "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
        "binding",
        {
            "metadata": metadata,
            "roleRef": {"kind": "Role", "name": "engineers"},
            "subjects": [{"kind": "Group", "name": "llmops:ml-engineers"}],
        },
    )
    page = access_page.render(_state(role, binding))
    assert "| `team` | group llmops:ml-engineers | Role engineers |" in page
    assert "### Role engineers in `team`\n\n- get jobs (batch)\n" in page


def test_a_secret_of_the_state_is_read_where_the_export_shows_it_and_left_out_where_not():
    signature = "4dabf18193072939515e22adb298388d"
    shown = _velero({})
    values = _velero({"eks.amazonaws.com/role-arn": "r"})["inputs"]["values"]
    shown["inputs"]["values"] = {signature: "x", "plaintext": json.dumps(values)}
    hidden = copy.deepcopy(shown)
    hidden["inputs"]["values"] = {signature: "x", "ciphertext": "v1:abc"}
    assert [use.role_arn for use in read(_state(shown)).uses] == ["r"]
    assert read(_state(hidden)).uses == ()
