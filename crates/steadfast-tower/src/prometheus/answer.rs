//! What a Prometheus says to an instant query.

use serde_json::Value;

use super::error::{AskError, Why};

/// How much of a text by somebody else is told, in characters.
const TOLD_MAX: usize = 200;

/// Reads the one number of an answer.
pub(super) fn number(answer: &[u8]) -> Result<f64, AskError> {
    let answer = read(answer)?;
    let data = &answer["data"];
    let result = &data["result"];
    let sample = match data["resultType"].as_str() {
        Some("scalar") => result,
        Some("vector") => match result.as_array().map(Vec::as_slice) {
            Some([]) => return Err(Why::Nothing.into()),
            Some([one]) => &one["value"],
            Some(many) => return Err(Why::Many(many.len()).into()),
            None => return Err(Why::NotPrometheus.into()),
        },
        Some(other) => return Err(Why::NoNumber(told(other)).into()),
        None => return Err(Why::NotPrometheus.into()),
    };
    number_of(sample)
}

/// Reads the numbers of an answer, each with what a label of it says; none of what is not counted.
pub(super) fn numbers(answer: &[u8], label: &str) -> Result<Vec<(String, f64)>, AskError> {
    let answer = read(answer)?;
    let data = &answer["data"];
    match data["resultType"].as_str() {
        Some("vector") => {}
        Some(other) => return Err(Why::NoNumber(told(other)).into()),
        None => return Err(Why::NotPrometheus.into()),
    }
    let samples = data["result"].as_array().ok_or(Why::NotPrometheus)?;
    let samples = samples.iter().map(|sample| {
        let says = sample["metric"][label].as_str().ok_or(Why::NotPrometheus)?;
        Ok((says.to_owned(), number_of(&sample["value"])?))
    });
    let is_nothing = |read: &Result<_, AskError>| read.as_ref().is_err_and(AskError::is_nothing);
    samples.filter(|read| !is_nothing(read)).collect()
}

fn read(answer: &[u8]) -> Result<Value, AskError> {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return Err(Why::NotJson.into());
    };
    match answer["status"].as_str() {
        Some("success") => Ok(answer),
        Some("error") => {
            let error = answer["error"].as_str().unwrap_or("without a reason");
            Err(Why::Refused(told(error)).into())
        }
        _ => Err(Why::NotPrometheus.into()),
    }
}

fn number_of(sample: &Value) -> Result<f64, AskError> {
    let Some(text) = sample[1].as_str() else {
        return Err(Why::NotPrometheus.into());
    };
    match text {
        // Nothing was counted in the window, which is how a quantile of nothing reads.
        "NaN" => Err(Why::Nothing.into()),
        text => text
            .parse()
            .ok()
            .filter(|number: &f64| !number.is_nan())
            .ok_or_else(|| Why::NoNumber(told(text)).into()),
    }
}

fn told(text: &str) -> String {
    text.chars().take(TOLD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(kind: &str, result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
    }

    #[test]
    fn one_number_is_read_of_a_vector_or_a_scalar() {
        let vector = answer("vector", r#"[{"metric":{"a":"b"},"value":[1.5,"0.25"]}]"#);
        let scalar = answer("scalar", r#"[1435781451.781,"2e-1"]"#);

        assert_eq!(number(vector.as_bytes()).unwrap(), 0.25);
        assert_eq!(number(scalar.as_bytes()).unwrap(), 0.2);
    }

    #[test]
    fn whatever_is_not_one_number_is_refused_with_what_it_is() {
        let one = |value: &str| answer("vector", &format!(r#"[{{"value":[1,{value}]}}]"#));
        for (text, why) in [
            ("<html>sign in</html>".to_owned(), "the answer is no JSON"),
            (String::new(), "the answer is no JSON"),
            ("[".repeat(10_000), "the answer is no JSON"),
            ("null".into(), "the answer is not one of a Prometheus"),
            (
                r#"{"status":"success"}"#.into(),
                "the answer is not one of a Prometheus",
            ),
            (
                answer("vector", "{}"),
                "the answer is not one of a Prometheus",
            ),
            (
                answer("vector", "[{}]"),
                "the answer is not one of a Prometheus",
            ),
            (one("0.5"), "the answer is not one of a Prometheus"),
            (answer("vector", "[]"), "there are no values yet"),
            (one(r#""NaN""#), "there are no values yet"),
            (one(r#""-nan""#), "the answer is a \"-nan\", and no number"),
            (one(r#""soon""#), "the answer is a \"soon\", and no number"),
            (
                answer("vector", "[1,2,3]"),
                "there are 3 values, where one is needed",
            ),
            (
                answer("matrix", "[]"),
                "the answer is a \"matrix\", and no number",
            ),
            (
                r#"{"status":"error","error":"parse\nerror"}"#.into(),
                r#"the query is refused: "parse\nerror""#,
            ),
        ] {
            let refused = number(text.as_bytes()).unwrap_err();
            assert_eq!(refused.to_string(), why, "{text:.80}");
            assert!(!refused.is_retryable());
        }
    }

    #[test]
    fn several_numbers_are_told_apart_by_a_label() {
        let buckets =
            r#"[{"metric":{"le":"0.1"},"value":[1,"3"]},{"metric":{"le":"+Inf"},"value":[1,"5"]}]"#;
        let read = |result: &str| numbers(answer("vector", result).as_bytes(), "le");

        let found = read(buckets).unwrap();

        assert_eq!(found, [("0.1".to_owned(), 3.0), ("+Inf".to_owned(), 5.0)]);
        assert!(read("[]").unwrap().is_empty());
        for wrong in ["{}", r#"[{"value":[1,"3"]}]"#, r#"[{"metric":{"le":"1"}}]"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(numbers(answer("scalar", "[1,\"2\"]").as_bytes(), "le").is_err());
    }

    #[test]
    fn labels_are_whole_and_what_is_nothing_takes_no_other_number_along() {
        let long = "a".repeat(2 * TOLD_MAX);
        let samples = [("b", "NaN"), (&long, "1"), ("", "+Inf")]
            .map(|(says, value)| serde_json::json!({"metric": {"r": says}, "value": [1, value]}));

        let found = numbers(
            answer("vector", &serde_json::json!(samples).to_string()).as_bytes(),
            "r",
        );

        assert_eq!(
            found.unwrap(),
            [(long, 1.0), (String::new(), f64::INFINITY)]
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (number(&answer), numbers(&answer, "le"));
        }

        #[test]
        fn what_others_wrote_is_told_in_part(error in "\\PC{0,400}") {
            let answer = serde_json::json!({"status": "error", "error": error}).to_string();
            let told = number(answer.as_bytes()).unwrap_err().to_string();
            prop_assert!(told.chars().count() < 2_200);
        }
    }
}
