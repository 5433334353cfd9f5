"""Teams of the model gateway, from the one declaration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_stack import run
from conftest import Recorder
from model_gateway_site import (
    MODELS,
    TEAMS,
    install,
)
from platform_site import options, site

from components.platform.databases import Databases, DatabasesArgs
from components.platform.model_gateway import (
    ModelGateway,
    ModelGatewayArgs,
)
from components.platform.model_gateway.reconcile import OWNER, Gateway, RefusedError, reconcile
from components.platform.model_gateway.teams import declared

pytestmark = pytest.mark.unit


class Administration(Gateway):
    """LiteLLM's administration as far as teams go, in memory."""

    def __init__(self, there: list[dict[str, Any]] = ()) -> None:
        super().__init__("http://nowhere", "sk-none")
        self.there = {one["team_id"]: one for one in there}
        self.calls: list[str] = []

    def _call(self, method, path, body=None):
        self.calls.append(f"{method} {path}")
        match path.partition("?")[0]:
            case "/team/info":
                name = path.partition("team_id=")[2]
                if name not in self.there:
                    raise RefusedError(404, path)
                return {"team_info": self.there[name]}
            case "/team/list":
                return list(self.there.values())
            case "/team/new":
                self.there[body["team_id"]] = {"spend": 0.0, **body}
            case "/team/update":
                self.there[body["team_id"]] |= body
        return {}

    @property
    def written(self) -> list[str]:
        return [call for call in self.calls if call.startswith("POST")]


class TestTeams:
    def test_the_numbers_are_those_of_the_one_declaration(self):
        research, guests = declared(TEAMS)
        assert (research["max_budget"], research["rpm_limit"], research["tpm_limit"]) == (100.0, 60, 5000)
        assert research["budget_duration"] == "1mo"
        assert (research["blocked"], guests["blocked"]) == (False, True)

    def test_a_second_run_changes_nothing(self):
        there = Administration()
        assert len(reconcile(there, declared(TEAMS))) == 2
        there.calls.clear()
        assert reconcile(there, declared(TEAMS)) == []
        assert there.written == []

    def test_what_was_changed_by_hand_is_as_declared_again_and_nothing_else_is_touched(self):
        there = Administration()
        reconcile(there, declared(TEAMS))
        there.there["research"] |= {"max_budget": 1e6, "spend": 42.0, "metadata": {**OWNER, "note": "theirs"}}
        assert reconcile(there, declared(TEAMS)) == ["research: changed max_budget"]
        assert there.there["research"]["max_budget"] == 100
        assert there.there["research"]["spend"] == 42
        assert there.there["research"]["metadata"]["note"] == "theirs"

    def test_a_team_of_ours_that_is_declared_no_more_is_blocked_and_keeps_what_it_spent(self):
        there = Administration([{"team_id": "theirs", "metadata": {}, "blocked": False}])
        reconcile(there, declared(TEAMS))
        there.there["research"]["spend"] = 42.0
        reconcile(there, declared(TEAMS[1:]))
        assert there.there["research"]["blocked"] is True
        assert there.there["research"]["spend"] == 42
        assert there.there["theirs"]["blocked"] is False
        there.calls.clear()
        reconcile(there, declared(TEAMS[1:]))
        assert there.written == []

    def test_a_team_that_comes_back_is_let_in_again(self):
        there = Administration()
        reconcile(there, declared(TEAMS))
        reconcile(there, declared(TEAMS[1:]))
        reconcile(there, declared(TEAMS))
        assert there.there["research"]["blocked"] is False

    def test_a_team_with_that_name_that_people_made_is_taken_over(self):
        there = Administration([{"team_id": "research", "metadata": {"note": "theirs"}, "blocked": False}])
        reconcile(there, declared(TEAMS))
        assert there.there["research"]["metadata"] == {"note": "theirs", **OWNER}

    def test_other_refusals_are_no_missing_team(self):
        class Forbidding(Administration):
            def _call(self, method, path, body=None):
                raise RefusedError(401, path)

        with pytest.raises(RefusedError):
            reconcile(Forbidding(), declared(TEAMS))

    def test_changed_teams_are_another_job(self, recorded: Recorder):
        run(install)
        job = recorded.of("kubernetes:batch/v1:Job")["models-teams"].inputs
        digest = job["spec"]["template"]["metadata"]["annotations"]["llmops/teams"]
        files = recorded.of("kubernetes:core/v1:ConfigMap")["models-teams"].inputs["data"]
        assert json.loads(files["teams.json"]) == declared(TEAMS)
        recorded.resources.clear()

        def other():
            place = site(teams=TEAMS[:1])
            shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
            args = ModelGatewayArgs(site=place, models=MODELS, secrets_ready=(), databases_ready=shared.ready)
            ModelGateway("models", args, options(place))

        run(other)
        job = recorded.of("kubernetes:batch/v1:Job")["models-teams"].inputs
        assert job["spec"]["template"]["metadata"]["annotations"]["llmops/teams"] != digest
