"""`RunConfig`: everything that a run depends on, checked field by field, as YAML in and out."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .methods import METHODS, REWARDED
from .own import joined, own_file, own_reward
from .policy import BATCH_SIZE, Policy
from .rewards import FormatReward, OutcomeReward, PerfectSparseReward, Reward, SelfReward, SumOfRewards
from .settings import SeekConfig
from .signals import Confidence, LogProbability, Majority, NoisyOracle, Reconstruction


class RunConfig(BaseModel):
    """Everything that a run depends on; `config.yaml` in the run's folder holds it, `out` aside.

    Attributes:
        model: an embedded model's name, a folder, or a hub id; `revision`, `gguf_file`, `device` and `dtype` as for `Policy`.
        benchmark: as for `load_benchmark`; of its `split` the first `limit` problems behind the first `start`, or those named by `ids`.
        out: the run's folder.
        method, variant: one of `METHODS`; a variant (one of `VARIANTS` or `FILE.py:CLASS`) replaces a part of the method
            `latentseek`, several joined by `+` several parts.
        reward: one of `REWARDS`, `FILE.py:FUNCTION`, or a sum of them (`self+format`); empty for methods that ask none.
        true_accept, false_accept: how often the reward `noisy_oracle` accepts a right and a wrong answer.
        reward_model: the outcome reward model, for the reward `outcome`.
        weights: of self-reward's checks, by name, where they differ from those of the `verifiers` file.
        format_penalty: what the reward `format` takes off where an answer misses the format.
        max_verdict_tokens: most tokens of a verdict.
        prompt, verifiers: `boxed`, `json` or a YAML file; `verifiers` or a YAML file.
        setting: `clean` is the paper's algorithm, `reference` the authors' code (`settings.py`).
        shots, shots_from: how many worked examples `few_shot` shows, and the benchmark from whose train split they come (the run's own
            where empty).
        n_samples: N of `best_of_n`, `self_consistency` and the reward `majority`; M of variants that sample; `temperature` of all that
            is sampled.
        n_thoughts, thoughts, sigma, sigma_decay, cold_entropy, cold_steps: of `ltpo` and `soft_thinking` (`Options`).
        budget_from: a finished run; `resample` may spend as many answer tokens on each batch of problems as that run did (on all of
            them together where `batch_size` holds all).
        recipe: the name of the published setting that the run started from.
        shard: `i/n`: only the i-th of n parts of the problems.

    The others are those of `SeekConfig`.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    model: Annotated[str, Field(min_length=1)]
    benchmark: Annotated[str, Field(min_length=1)]
    out: Path
    method: str = "latentseek"
    reward: str = "self"
    variant: str = ""
    prompt: str = "boxed"
    setting: Literal["clean", "reference"] = "clean"
    split: str = "test"
    start: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    ids: list[str] | None = Field(None, min_length=1)
    seed: int = 0
    rho: float = 0.2
    learning_rate: float = 0.03
    max_iterations: int = 10
    reward_threshold: float = -0.2
    max_new_tokens: int = 1024
    max_latents: int = 300
    optimizer: str = "adam"
    grad_clip: float | None = None
    verifiers: str = "verifiers"
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    format_penalty: float = Field(2 / 6, ge=0, allow_inf_nan=False)
    max_verdict_tokens: int = Field(512, ge=1)
    true_accept: float = Field(0.9, ge=0, le=1)
    false_accept: float = Field(0.1, ge=0, le=1)
    reward_model: str | None = None
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    n_samples: int = Field(3, ge=1)
    shots: int = Field(4, ge=1)
    shots_from: str | None = None
    epochs: int = 4
    clip: float = 0.2
    kl_weight: float = 0.1
    flip_share: float = 0.1
    kick_variance: float = 0.5
    middle_from: float = 0.4
    n_thoughts: int = Field(10, ge=1)
    thoughts: str = "ltpo"
    sigma: float = Field(0.1, gt=0, allow_inf_nan=False)
    sigma_decay: float = Field(0.99, gt=0, le=1)
    cold_entropy: float = Field(0.01, ge=0)
    cold_steps: int = Field(256, ge=1)
    budget_from: Path | None = None
    batch_size: int = Field(BATCH_SIZE, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    gguf_file: str | None = None
    recipe: str = ""
    shard: str = ""

    @field_validator("method")
    @classmethod
    def _known_method(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}: use one of {', '.join(METHODS)}")
        return method

    @field_validator("reward")
    @classmethod
    def _known_reward(cls, reward: str) -> str:
        if unknown := [part for part in joined(reward) if reward and part not in REWARDS and not own_file(part)]:
            raise ValueError(
                f"unknown reward {unknown[0]!r}: use one of {', '.join(REWARDS)}, FILE.py:FUNCTION, or a sum of them"
            )
        return reward

    @field_validator("shard")
    @classmethod
    def _is_part(cls, shard: str) -> str:
        part, _, parts = shard.partition("/")
        if shard and not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            raise ValueError("a shard is written i/n with 1 <= i <= n, such as 2/3")
        return shard

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        self.seek_config()
        if self.method not in REWARDED:
            self.reward = ""
        elif not self.reward:
            raise ValueError(f"method {self.method} needs a reward: use one of {', '.join(REWARDS)}")
        if "outcome" in self.reward.split("+") and not self.reward_model:
            raise ValueError("the reward outcome needs a model: name it by reward_model")
        if self.variant and self.method != "latentseek":
            raise ValueError(f"variant {self.variant} replaces a part of latentseek; {self.method} has no such part")
        if self.budget_from is not None and self.method != "resample":
            raise ValueError(f"budget_from limits resample; {self.method} has no use for it")
        return self

    def seek_config(self) -> SeekConfig:
        """The settings of the search."""
        make = SeekConfig.reference if self.setting == "reference" else SeekConfig
        names = set(SeekConfig.__dataclass_fields__) & set(type(self).model_fields)
        return make(**{name: getattr(self, name) for name in names})

    def settings(self) -> dict[str, Any]:
        """All but `out`, as plain values."""
        return self.model_dump(mode="json", exclude={"out"})

    def to_yaml(self) -> str:
        """What `read_settings` reads back."""
        return yaml.safe_dump(self.settings(), sort_keys=False, allow_unicode=True)


def make_config(**values: Any) -> RunConfig:
    """A checked `RunConfig`; what is wrong is said in one sentence.

    Raises:
        ValueError: an unknown or ill-valued setting.
    """
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise ValueError(f"RunConfig.{where} is missing; name it (--{where} on the command line)") from error
        if first["type"] == "extra_forbidden":
            raise ValueError(f"RunConfig has no {where!r}; it has {', '.join(RunConfig.model_fields)}") from error
        raise ValueError(f"RunConfig.{where} is {first['input']!r}: {said}" if where else said) from error


REWARDS: dict[str, Callable[[Policy, RunConfig], Reward]] = {
    "self": lambda policy, config: SelfReward(
        policy, weights=config.weights, max_new_tokens=config.max_verdict_tokens, prompt=config.verifiers
    ),
    "psrm": lambda policy, config: PerfectSparseReward(config.prompt),
    "format": lambda policy, config: FormatReward(config.prompt, config.format_penalty),
    "outcome": lambda policy, config: OutcomeReward(config.reward_model, device=config.device),
    "confidence": lambda policy, config: Confidence(policy, prompt=config.prompt),
    "log_probability": lambda policy, config: LogProbability(policy, prompt=config.prompt),
    "reconstruction": lambda policy, config: Reconstruction(policy),
    "majority": lambda policy, config: Majority(
        policy,
        n_samples=config.n_samples,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        prompt=config.prompt,
        seed=config.seed,
    ),
    "noisy_oracle": lambda policy, config: NoisyOracle(
        config.true_accept, config.false_accept, seed=config.seed, prompt=config.prompt
    ),
}


def make_reward(policy: Policy, config: RunConfig) -> Reward | None:
    """The reward that a configuration names; None where its method asks none.

    Raises:
        ValueError: a file without that function, or one that fails on import.
    """
    if not config.reward:
        return None
    rewards = [REWARDS[part](policy, config) if part in REWARDS else own_reward(part) for part in joined(config.reward)]
    return rewards[0] if len(rewards) == 1 else SumOfRewards(rewards)
