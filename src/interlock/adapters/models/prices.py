"""What models cost: by the list that comes with the library (genai-prices), or as the operator declares it."""

from decimal import Decimal

from interlock import inference

_MILLION = Decimal(1_000_000)


def declared(input_usd: Decimal, output_usd: Decimal) -> inference.Price:
    """So many dollars for a million tokens in, and out."""

    def price(usage: inference.Usage) -> Decimal | None:
        return (usage.input_tokens * input_usd + usage.output_tokens * output_usd) / _MILLION

    return price


def listed(provider: str, name: str) -> inference.Price:
    """As the list has it, which is as old as the library; None for a model that it does not know. Nothing is fetched."""

    def price(usage: inference.Usage) -> Decimal | None:
        from genai_prices import Usage, calc_price

        counted = Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        try:
            return calc_price(counted, name, provider_id=provider).total_price
        except LookupError:
            return None

    return price
