"""What has a form that no pattern tells: texts of it, so that they are asked for as well."""

import os

import schemathesis
from hypothesis import strategies as st


def lengths(seconds):
    """Lengths of time, with all of their units."""
    units = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]
    texts = [
        f"{number}{unit}"
        for unit, of in units
        for number in (1, 2, 59, 60, 90, 8784)
        if seconds[0] <= number * of <= seconds[1]
    ]
    return st.sampled_from(texts)


DAY = 24 * 3600
FORMS = {
    "length": lengths((0, 366 * DAY)),
    "length-from-a-second": lengths((1, 366 * DAY)),
    "length-up-to-a-day": lengths((1, DAY)),
    "length-of-a-token": lengths((3600, 366 * DAY)),
    "missed": st.sampled_from(["skip", "run_once", "run_all(24h)", "run_all(7d)"]),
    "rule": st.sampled_from(
        ["0 1 * * *", "*/5 8-18 * jan-jun mon", "30 0 1 * * *", "@daily", "@Hourly", "every 15m", "0 0 L * *"]
    ),
    "time-zone": st.sampled_from(["UTC", "utc", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    "policy": st.sampled_from(
        ["", "[timeouts.page]\ntimeout = \"2s\"\n", "[admissions.http]\npermits = 10\n[routes.\"GET /\"]\nadmission = \"http\"\n"]
    ),
    "policy-field": st.sampled_from(
        ["timeouts.page.timeout", "admissions.http.permits", 'routes."GET /orders".tier', "drain.lower"]
    ),
}
for name, strategy in FORMS.items():
    schemathesis.openapi.format(name, strategy)


def whole(value):
    """Whole numbers as the API takes them: without a fraction, which they may have for JSON Schema."""
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def number(text):
    """The number that a path names, as the API reads it."""
    try:
        return int(str(text))
    except ValueError:
        return None


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    """Leaves the token alone by which is asked: all that comes after would be refused."""
    if context.operation.label != "DELETE /api/v1/tokens/{id}" or not isinstance(path_parameters, dict):
        return True
    return number(path_parameters.get("id")) != int(os.environ["STEADFAST_TOKEN_ID"])


def ordered(body):
    """A range with its end after its beginning, which no form of a field tells."""
    match body:
        case {"from": str(begin), "to": str(end)} if end < begin:
            return {**body, "from": end, "to": begin}
    return body


@schemathesis.hook
def map_body(context, body):
    return ordered(whole(body))
