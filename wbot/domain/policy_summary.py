"""A business's money rules in an operator's words: what they are, and which make no sense."""

from wbot.domain.business import Business, PayeeRule, Switch
from wbot.domain.money import format_amount


def in_words(business: Business) -> str:
    """The rules in one line; what is not limited is not mentioned."""
    policy = business.policy
    who = "known payees only" if policy.payees is PayeeRule.KNOWN else "anybody may be paid"
    limits = (
        (policy.max_transfer_minor, "at most {} a transfer"),
        (policy.daily_total_minor, "at most {} a customer in 24 hours"),
        (policy.new_payee_limit_minor, "at most {} to a new payee"),
        (policy.overdraft_minor or None, "a balance may go down to -{}"),
    )
    count, window_s = policy.daily_count, policy.cancel_window_s
    parts = [
        f"{_confirmed(business)} waits {policy.hold_ttl_s} s for the customer's yes",
        who,
        *(words.format(_money(minor, business)) for minor, words in limits if minor is not None),
        *([] if count is None else [f"at most {count} transfers a customer in 24 hours"]),
        f"cancelled within {window_s} s" if window_s else "never cancelled once made",
    ]
    return "; ".join(parts)


def contradictions(business: Business) -> list[str]:
    """Each rule that another one leaves without a meaning, and the consequence."""
    policy = business.policy
    ceilings = [
        (minor, name)
        for minor, name in (
            (policy.max_transfer_minor, "max_transfer"),
            (policy.daily_total_minor, "daily_total"),
        )
        if minor is not None
    ]
    found = []
    if ceilings:
        ceiling_minor, ceiling = min(ceilings)
        if policy.confirm_above_minor >= ceiling_minor:
            found.append(f"no transfer is ever confirmed because confirm_above reaches {ceiling}")
        if (policy.new_payee_limit_minor or 0) > ceiling_minor:
            found.append(f"new_payee_limit limits nothing because it is more than {ceiling}")
        if (policy.max_transfer_minor or 0) > ceiling_minor:
            found.append("max_transfer limits nothing because it is more than daily_total")
    if policy.payees is PayeeRule.KNOWN and policy.new_payee_limit_minor is not None:
        found.append(
            "new_payee_limit limits nothing because no new payee is paid (payees is known)"
        )
    return found


def _confirmed(business: Business) -> str:
    above_minor, window_s = business.policy.confirm_above_minor, business.policy.repeat_window_s
    if not above_minor:
        return "every transfer"
    kinds = [f"what is above {_money(above_minor, business)}"]
    if window_s:
        kinds.append(f"the same again within {window_s} s")
    if business.policy.own_words is Switch.ON:
        kinds.append("what the customer did not type")
    return ", or ".join(kinds)


def _money(minor: int, business: Business) -> str:
    return f"{format_amount(minor, business.currency)} {business.currency_code}"
