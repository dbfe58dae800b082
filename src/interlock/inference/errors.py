"""What goes wrong when models are asked.

ProviderError
├── ModelUnavailable      model_unavailable
│   └── ModelBusy             model_busy
├── ModelRefused          model_request_refused
└── ModelUnreadable       model_answer_unreadable
ConfigurationError
├── ModelUnpriced         model_unpriced
└── ModelLibraryMissing   model_library_missing
ConnectionError_
└── ModelForbidden        model_forbidden
NotFoundError
└── UnknownModel          unknown_model
"""

from interlock.kernel import ConfigurationError, ConnectionError_, Fault, NotFoundError, ProviderError, Retry


class ModelUnavailable(ProviderError):
    """A model's provider has no answer now: it is overloaded, broken, or cannot be reached, or asks for fewer requests."""

    code = "model_unavailable"
    next_step = "Ask again later, or name another model: a fallback is declared in `[inference]`."


class ModelBusy(ModelUnavailable):
    """Another process is asking the same question, under the same key, and has no answer yet."""

    code = "model_busy"
    next_step = "Ask again: the answer is there once the other one has it, `interlock runs show RUN`."


class ModelRefused(ProviderError):
    """A model's provider does not take the request as it is: too long, with an unknown option, or for a model that it has not."""

    code = "model_request_refused"
    retry = Retry.AFTER_CHANGE
    fault = Fault.CALLER
    next_step = "Change what the message names: the model's name, its options, or how much it is told."


class ModelUnreadable(ProviderError):
    """A model's provider answered with what is no answer of a model."""

    code = "model_answer_unreadable"
    next_step = "See that the provider's address is that of a model API: `interlock runs show RUN` has what came back."


class ModelUnpriced(ConfigurationError):
    """A budget counts dollars, and it is not known what the model costs."""

    code = "model_unpriced"
    next_step = "Give its provider `input_usd` and `output_usd` (per million tokens) or `ceiling_usd` (per call) in the settings."


class ModelLibraryMissing(ConfigurationError):
    """What asks providers of models is an extra, and is not installed."""

    code = "model_library_missing"
    next_step = "`pip install 'interlock[inference]'`"


class ModelForbidden(ConnectionError_):
    """A model's provider does not take the key that it was shown, or the key may not ask that model."""

    code = "model_forbidden"
    next_step = "Give the provider a key that is valid and may ask the model; `interlock doctor` says where it is read."


class UnknownModel(NotFoundError):
    """No provider of the name that the model begins with is set up."""

    code = "unknown_model"
    next_step = "Name a model as provider:name, of a provider that `interlock doctor` lists."
