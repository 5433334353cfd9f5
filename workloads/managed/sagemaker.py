"""A model on a SageMaker endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_aws import appautoscaling, cloudcontrol, cloudwatch, sagemaker

from components.aws.alarms import metric_alarm
from components.aws.model_endpoints import AwsModelHosting, EndpointIdentity, EndpointIdentityArgs, capture_prefix
from components.contract import Grant
from workloads.managed import sagemaker_parts as parts
from workloads.managed.machines import Machine
from workloads.managed.names import with_content


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One version of the model on the endpoint.

    Attributes:
        name: Unique on the endpoint.
        model_url: Triton's model repository, as ``s3://…``, uncompressed.
        weight: Share of the requests beside the other variants; plain.
    """

    name: str
    model_url: pulumi.Input[str]
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class SageMakerEndpointArgs:
    """What an endpoint needs.

    Attributes:
        hosting: The foundation's part.
        endpoint: Its name at SageMaker, plain: the gateway calls it.
        image: Container in ECR; speaks the OpenAI API at ``/invocations``.
        variants: Versions of the model; one where ``fewest`` is 0.
        grants: What reads the weights.
        environment: Variables of the container; nothing secret.
        machine: What it runs on.
        fewest: Machines of each variant at least.
        most: Machines of each variant at most.
        concurrency: Requests under way in one server.
        p99_seconds: 99 of 100 answers are whole within so many seconds.
        error_percent: Share of requests that may fail.
        start_seconds: From a running machine to a server that answers: download and start, each at most so long.
        update: How a new version takes over.
        capture_percent: Share of requests and answers that are kept; 0 for none.
        tags: Beside those of the provider; for what the provider's do not reach.
    """

    hosting: AwsModelHosting
    endpoint: str
    image: pulumi.Input[str]
    variants: Sequence[Variant]
    grants: Sequence[Grant]
    machine: Machine
    fewest: int
    most: int
    concurrency: int
    p99_seconds: float
    error_percent: float
    start_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    update: parts.Update = "blue-green"
    capture_percent: int = 0
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class SageMakerEndpoint(pulumi.ComponentResource):
    """Models and a configuration that are replaced, an endpoint that is updated, a scaler, alarms that roll back."""

    endpoint_name: pulumi.Output[str]
    """Known when the endpoint answers."""
    ready: tuple[pulumi.CustomResource, ...]

    def __init__(self, name: str, args: SageMakerEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        inherited = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=args.hosting.provider))
        super().__init__("llmops:managed:SageMakerEndpoint", name, None, inherited)
        self._name, self._args = name, args
        # A child of another provider's component does not inherit this one's by itself.
        self._child = pulumi.ResourceOptions(parent=self, provider=args.hosting.provider)
        zero = parts.scales_to_zero(args.fewest)
        if zero and len(args.variants) != 1:
            raise ValueError(f"endpoint {args.endpoint}: several variants need a machine each; set fewest to 1")

        identity = EndpointIdentity(
            f"{name}-identity",
            EndpointIdentityArgs(
                hosting=args.hosting,
                endpoint=args.endpoint,
                image=args.image,
                log_group=parts.log_group(args.endpoint, args.fewest),
                grants=args.grants,
                captures=args.capture_percent > 0,
                has_volumes=parts.takes_our_key(args.machine),
            ),
            self._child,
        )
        # SageMaker makes it otherwise, for ever and without a key.
        logs = cloudwatch.LogGroup(
            f"{name}-output",
            name=parts.log_group(args.endpoint, args.fewest),
            retention_in_days=args.hosting.log_retention_days,
            kms_key_id=args.hosting.logs_key_arn,
            opts=self._child,
        )
        models = {one.name: self._model(one, identity) for one in args.variants}
        alarms = self._alarms()
        configuration = self._configuration(models, identity)
        endpoint = sagemaker.Endpoint(
            f"{name}-endpoint",
            name=args.endpoint,
            endpoint_config_name=configuration.name,
            # Its inference component has an update policy of its own.
            deployment_config=None if zero else self._update_policy(alarms),
            opts=pulumi.ResourceOptions.merge(
                self._child,
                pulumi.ResourceOptions(
                    depends_on=[logs, *alarms],  # it writes to the one, and is rolled back by the others
                    custom_timeouts=pulumi.CustomTimeouts(create="90m", update="180m", delete="30m"),
                ),
            ),
        )
        if zero:
            self.ready = self._scaled_to_zero(endpoint, models[args.variants[0].name], alarms)
        else:
            self.ready = (endpoint, *self._scaled(endpoint))
        self.endpoint_name = pulumi.Output.all(endpoint.name, *(made.id for made in self.ready)).apply(
            lambda values: str(values[0])
        )
        self.register_outputs({"endpointName": self.endpoint_name})

    def _model(self, variant: Variant, identity: EndpointIdentity) -> sagemaker.Model:
        args = self._args
        url = pulumi.Output.from_input(variant.model_url).apply(lambda found: f"{found.rstrip('/')}/")
        content = pulumi.Output.all(args.image, url, identity.role_arn, identity.security_group_id)
        return sagemaker.Model(
            f"{self._name}-{variant.name}",
            # It cannot be changed, and is used until the endpoint has gone over to the next one.
            name=content.apply(
                lambda values: with_content(
                    f"{args.endpoint}-{variant.name}", {"of": values, "environment": dict(args.environment)}
                )
            ),
            execution_role_arn=identity.role_arn,
            enable_network_isolation=True,  # the container reaches nothing; SageMaker brings weights and requests
            vpc_config={
                "subnets": list(args.hosting.subnet_ids),
                "security_group_ids": [identity.security_group_id],
            },
            primary_container={
                "image": args.image,
                "environment": dict(args.environment),
                "model_data_source": {
                    "s3_data_sources": [
                        {"s3_uri": url, "s3_data_type": "S3Prefix", "compression_type": "None"},
                    ]
                },
            },
            opts=self._child,
        )

    def _configuration(
        self, models: Mapping[str, sagemaker.Model], identity: EndpointIdentity
    ) -> sagemaker.EndpointConfiguration:
        args = self._args
        zero = parts.scales_to_zero(args.fewest)
        variants: list[Any] = [self._empty_variant()] if zero else [self._variant(one, models) for one in args.variants]
        capture = self._capture()
        key = args.hosting.storage_key_arn if parts.takes_our_key(args.machine) else None
        content = pulumi.Output.all(variants=variants, capture=capture, key=key, role=identity.role_arn if zero else "")
        return sagemaker.EndpointConfiguration(
            f"{self._name}-configuration",
            # As a model: it cannot be changed, and the endpoint names it until it has the next one.
            name=content.apply(lambda values: with_content(args.endpoint, values)),
            execution_role_arn=identity.role_arn if zero else None,
            kms_key_arn=key,
            production_variants=variants,
            data_capture_config=capture,
            opts=self._child,
        )

    def _variant(self, variant: Variant, models: Mapping[str, sagemaker.Model]) -> dict[str, Any]:
        args = self._args
        return {
            "variant_name": variant.name,
            "model_name": models[variant.name].name,
            "instance_type": args.machine.name,
            "initial_instance_count": args.fewest,
            "initial_variant_weight": float(variant.weight),
            "routing_configs": [{"routing_strategy": "LEAST_OUTSTANDING_REQUESTS"}],
            "model_data_download_timeout_in_seconds": parts.start_timeout(args.start_seconds),
            "container_startup_health_check_timeout_in_seconds": parts.start_timeout(args.start_seconds),
        }

    def _empty_variant(self) -> dict[str, Any]:
        """Machines for an inference component: as many as its copies need, down to none."""
        args = self._args
        return {
            "variant_name": parts.VARIANT,
            "instance_type": args.machine.name,
            "initial_instance_count": 1,
            "managed_instance_scaling": {
                "status": "ENABLED",
                "min_instance_count": 0,
                "max_instance_count": args.most,
            },
            "routing_configs": [{"routing_strategy": "LEAST_OUTSTANDING_REQUESTS"}],
        }

    def _capture(self) -> Any:
        args = self._args
        if not args.capture_percent:
            return None
        return {
            "enable_capture": True,
            "initial_sampling_percentage": args.capture_percent,
            "destination_s3_uri": pulumi.Output.concat(
                args.hosting.capture_bucket_url, "/", capture_prefix(args.endpoint).rstrip("/")
            ),
            "kms_key_id": args.hosting.capture_key_arn,
            "capture_options": [{"capture_mode": "Input"}, {"capture_mode": "Output"}],
            "capture_content_type_header": {"json_content_types": ["application/json"]},
        }

    def _alarms(self) -> tuple[cloudwatch.MetricAlarm, ...]:
        """One for failures and one for slowness, for each part that answers by itself."""
        args = self._args
        topic = args.hosting.alarm_topic_arn
        made: list[cloudwatch.MetricAlarm] = []
        for suffix, dimensions in self._watched():
            failing = parts.error_alarm(args.endpoint, args.error_percent)
            made += (
                metric_alarm(
                    f"{self._name}{suffix}-errors", failing, dimensions=dimensions, topic_arn=topic, opts=self._child
                ),
                cloudwatch.MetricAlarm(
                    f"{self._name}{suffix}-slow",
                    alarm_description=f"Answers of {args.endpoint} take longer than {args.p99_seconds:g} s (P99).",
                    namespace="AWS/SageMaker",
                    metric_name="ModelLatency",
                    dimensions=dimensions,
                    extended_statistic="p99",
                    comparison_operator="GreaterThanThreshold",
                    threshold=args.p99_seconds * 1e6,  # the metric is in microseconds
                    period=60,
                    evaluation_periods=5,
                    treat_missing_data="notBreaching",
                    alarm_actions=[topic],
                    ok_actions=[topic],
                    opts=self._child,
                ),
            )
        return tuple(made)

    def _watched(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        args = self._args
        if parts.scales_to_zero(args.fewest):
            return [("", {"InferenceComponentName": parts.component_name(args.endpoint)})]
        return [
            (
                f"-{one.name}" if len(args.variants) > 1 else "",
                {"EndpointName": args.endpoint, "VariantName": one.name},
            )
            for one in args.variants
        ]

    def _update_policy(self, alarms: Sequence[cloudwatch.MetricAlarm]) -> pulumi.Output[Any]:
        update = self._args.update
        return pulumi.Output.all(*(alarm.name for alarm in alarms)).apply(
            lambda names: parts.update_policy(update, [str(one) for one in names])
        )

    def _scaled(self, endpoint: sagemaker.Endpoint) -> tuple[pulumi.CustomResource, ...]:
        """A scaler for each variant that may grow."""
        args = self._args
        if args.most <= args.fewest:
            return ()
        made: list[pulumi.CustomResource] = []
        for one in args.variants:
            made += self._scaler(
                one.name,
                endpoint.name.apply(lambda found, variant=one.name: f"endpoint/{found}/variant/{variant}"),
                dimension="sagemaker:variant:DesiredInstanceCount",
                metric="SageMakerVariantConcurrentRequestsPerModelHighResolution",
            )
        return tuple(made)

    def _scaler(
        self, suffix: str, resource_id: pulumi.Output[str], *, dimension: str, metric: str
    ) -> list[appautoscaling.Target | appautoscaling.Policy]:
        args = self._args
        target = appautoscaling.Target(
            f"{self._name}-{suffix}",
            service_namespace="sagemaker",
            resource_id=resource_id,
            scalable_dimension=dimension,
            min_capacity=args.fewest,
            max_capacity=args.most,
            opts=self._child,
        )
        policy = appautoscaling.Policy(
            f"{self._name}-{suffix}-busy",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            resource_id=target.resource_id,
            scalable_dimension=target.scalable_dimension,
            target_tracking_scaling_policy_configuration={
                "predefined_metric_specification": {"predefined_metric_type": metric},
                "target_value": parts.busy_requests(args.concurrency),
                "scale_in_cooldown": parts.SCALE_IN_SECONDS,
                "scale_out_cooldown": parts.SCALE_OUT_SECONDS,
            },
            opts=self._child,
        )
        return [target, policy]

    def _scaled_to_zero(
        self, endpoint: sagemaker.Endpoint, model: sagemaker.Model, alarms: Sequence[cloudwatch.MetricAlarm]
    ) -> tuple[pulumi.CustomResource, ...]:
        """The inference component, its scaler, and what starts the first copy when somebody asks."""
        args = self._args
        # pulumi-aws has no type for it; Cloud Control makes it by its CloudFormation type.
        component = cloudcontrol.Resource(
            f"{self._name}-component",
            type_name="AWS::SageMaker::InferenceComponent",
            desired_state=pulumi.Output.all(endpoint.name, model.name, *(alarm.name for alarm in alarms)).apply(
                lambda values: parts.component_state(
                    endpoint=values[0],
                    model=values[1],
                    machine=args.machine,
                    start_seconds=args.start_seconds,
                    alarms=values[2:],
                    tags=args.tags,
                )
            ),
            opts=pulumi.ResourceOptions.merge(
                self._child,
                pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="90m", update="180m")),
            ),
        )
        name = parts.component_name(args.endpoint)
        target, busy = self._scaler(
            "copies",
            component.id.apply(lambda _: f"inference-component/{name}"),
            dimension="sagemaker:inference-component:DesiredCopyCount",
            metric="SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
        )
        assert isinstance(target, appautoscaling.Target)
        wake = appautoscaling.Policy(
            f"{self._name}-wake",
            policy_type="StepScaling",
            service_namespace=target.service_namespace,
            resource_id=target.resource_id,
            scalable_dimension=target.scalable_dimension,
            step_scaling_policy_configuration={
                "adjustment_type": "ChangeInCapacity",
                "metric_aggregation_type": "Maximum",
                "cooldown": parts.SCALE_OUT_SECONDS,
                "step_adjustments": [{"metric_interval_lower_bound": "0", "scaling_adjustment": 1}],
            },
            opts=self._child,
        )
        asked = cloudwatch.MetricAlarm(
            f"{self._name}-asked",
            alarm_description=f"A request came to {args.endpoint}, which has no server: one is started.",
            namespace="AWS/SageMaker",
            metric_name="NoCapacityInvocationFailures",
            dimensions={"InferenceComponentName": name},
            statistic="Maximum",
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=1,
            period=30,
            evaluation_periods=1,
            treat_missing_data="missing",
            alarm_actions=[wake.arn],  # and nobody is told: it is the way to start
            opts=self._child,
        )
        return (endpoint, component, target, busy, wake, asked)
