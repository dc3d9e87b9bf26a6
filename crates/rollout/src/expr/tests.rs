use serde_json::json;

use super::*;

#[track_caller]
fn check(result: serde_json::Value, condition_text: &str, expected: Result<bool, &str>) {
    let got = condition(condition_text, &Value::from_json(&result, true));
    match (&got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(*got, expected, "{condition_text} on {result}"),
        (Err(got), Err(says)) => {
            assert!(got.contains(says), "{condition_text} on {result}: {got:?} does not say {says:?}")
        }
        _ => panic!("{condition_text} on {result}: {got:?} instead of {expected:?}"),
    }
}

#[test]
fn forms_of_argos_examples_documents_and_tests() {
    check(json!([0.96]), "result[0] >= 0.95", Ok(true));
    check(json!([0.94]), "result[0] >= 0.95", Ok(false));
    check(json!(["NaN"]), "result[0] >= 0.95", Ok(false));
    check(json!(["NaN"]), "result[0] < 0.95", Ok(false));
    check(json!([]), "result[0] >= 0.95", Err("index out of range: 0 (array length is 0)"));
    check(json!([0.01]), "result[0] <= 0.01", Ok(true));
    check(json!(0.01), "result <= 0.01", Ok(true));
    check(json!([999, 1]), "all(result, # < 1000)", Ok(true));
    check(json!([999, 1000]), "all(result, # < 1000)", Ok(false));
    let apdex = json!({"service_apdex": {"values": {"values": [{"value": "9900"}, {"value": 9999}]}}});
    check(apdex.clone(), "all(result.service_apdex.values.values, {asFloat(.value) >= 9900})", Ok(true));
    check(apdex, "all(result.service_apdex.values.values, {asFloat(.value) > 9900})", Ok(false));
    let floats = json!({"service_apdex": {"values": {"values": [2, 2]}}});
    check(floats, "all(result.service_apdex.values.values, {# > 1})", Ok(true));
    let cloudwatch = json!([{"Values": [0.01, 0, 0, 0, 0.001]}]);
    check(cloudwatch, "len(result[0].Values) >= 5 and all(result[0].Values, {# <= 0.01})", Ok(true));
    check(json!([0.01, 0.04]), "max(result) < 0.05", Ok(true));
    check(json!([1, 2]), "2 in result", Ok(true));
    check(json!([1, 2]), "10 in result", Ok(false));
    check(json!([1, 2]), "10 not in result", Ok(true));
    check(json!([]), "len(result) > 0 && result[0] >= 0.95", Ok(false));
    check(json!([]), "len(result) == 0 || result[0] >= 0.95", Ok(true));
    check(json!([]), "len(result) > 0 ? result[0] < 1 : true", Ok(true));
    check(json!([2]), "len(result) > 0 ? result[0] < 1 : true", Ok(false));
    check(json!("NaN"), "isNaN(result) || result >= 0.95", Ok(true));
    check(json!(null), "default(result, 0) < 0.05", Ok(true));
    check(json!(0.06), "default(result, 0) < 0.05", Ok(false));
    check(json!({"ok": true, "successPercent": 0.95}), "result.ok && result.successPercent >= 0.90", Ok(true));
    check(json!("true"), "result == 'true'", Ok(true));
    check(json!(true), "result == 'true'", Err("mismatched types bool and string"));
    check(json!({"major": "1"}), "result.major == '1'", Ok(true));
    check(json!({"major": 1}), "result.major == '1'", Ok(false));
    check(json!("+Inf"), "isInf(result)", Ok(true));
    check(json!(1), "isInf(result)", Ok(false));
    check(json!("It worked!"), "result == 'It worked!'", Ok(true));
    check(json!(true), "result == true", Ok(true));
    check(json!(true), "result == false", Ok(false));
    check(json!(5), "result > 1", Ok(true));
    check(json!("1"), "asInt(result) == 1", Ok(true));
    check(json!(1.123), "asInt(result) == 1", Ok(true));
    check(json!("1.1"), "asInt(result) == 1.1", Err("strconv.ParseInt: parsing \"1.1\": invalid syntax"));
    check(json!("NotANum"), "asFloat(result) == 1.1", Err("strconv.ParseFloat: parsing \"NotANum\": invalid syntax"));
    check(json!("1.1"), "asFloat(result) == \"1.1\"", Err("mismatched types float64 and string"));
    check(json!("1.1"), "asFloat(result) <= 1.1", Ok(true));
    check(json!(true), "1", Err("expected bool, but got int"));
    check(json!(true), "invalidVariable", Err("unknown name invalidVariable"));
    check(json!(true), "true || invalidVariable", Err("unknown name invalidVariable"));
    check(json!(true), "result.Name() == 'hi'", Err("has no method Name"));
    check(json!(null), "isNil(result)", Ok(true));
    check(json!([1]), "isNil(result)", Ok(false));
}

#[test]
fn the_language() {
    for (text, expected) in [
        ("not false", true),
        ("!(1 > 2) and true or false", true),
        ("1 + 2 * 3 == 7", true),
        ("2 ** 3 ** 2 == 512", true),
        ("-2 ** 2 == -4", true),
        ("7 / 2 == 3.5", true),
        ("7 % 4 == 3", true),
        ("1 < 2 < 3", true),
        ("1 < 3 < 2", false),
        ("nil ?? 3 == 3", true),
        ("\"a\" + 'b' == `ab`", true),
        ("'abc' contains 'b' and 'abc' startsWith 'a' && 'abc' endsWith \"c\"", true),
        ("3 in 1..3", true),
        ("any([1, 2, 3], # == 2)", true),
        ("none([1, 2, 3], {# == 4})", true),
        ("one([1, 2, 2], # == 2)", false),
        ("count([1, 2, 2], # == 2) == 2", true),
        ("sum(filter([1, 2, 3], # > 1)) == 5", true),
        ("sum(map([1, 2, 3], # * 2)) == 12", true),
        ("max(1, 2.5, [4]) == 4 && min([3, 1]) == 1", true),
        ("mean([1, 2]) == 1.5 and median([3, 1, 2]) == 2", true),
        ("[1, 2, 3][-1] == 3 && [1, 2, 3][1:] == [2, 3]", true),
        ("all([[1, 2], [3]], all(#, # > 0))", true),
        ("any([{}], true) ?? false", false),
    ] {
        if text.contains("{}") {
            check(json!(null), text, Err("unexpected token"));
        } else {
            check(json!(null), text, Ok(expected));
        }
    }
    check(json!({"a": null}), "result.a?.b == nil", Ok(true));
    check(json!({"a": null}), "result.a.b == 1", Err("cannot fetch"));
    check(json!({"a": 1}), "'a' in result", Ok(true));
    check(json!({"a b": 1}), "result['a b'] == 1", Ok(true));
    check(json!(["NaN", 1]), "max(result) < 5", Ok(false));
    check(json!([1, "NaN"]), "max(result) < 5", Ok(false));
}

#[test]
fn what_is_wrong_is_an_error() {
    for (text, says) in [
        ("", "EOF"),
        ("result >", "EOF"),
        ("(true", "EOF"),
        ("true)", "Operator(\")\")"),
        ("1 2", "unexpected token Number"),
        ("'abc", "not terminated"),
        ("1 < 'a'", "mismatched types int and string"),
        ("len(5) > 1", "invalid argument for len"),
        ("all(5, # > 1)", "takes only array"),
        ("all([1], 5)", "predicate should return boolean"),
        ("# > 1", "unexpected token"),
        ("result matches 'a.*'", "not supported here"),
        ("let x = 1; x == 1", "not supported here"),
        ("[1] | len() == 1", "not supported here"),
        ("true && 1", "mismatched type int"),
        ("5 % 0 == 0", "divide by zero"),
        ("9223372036854775807 + 1 > 0", "overflow"),
        ("99999999999999999999 > 1", "bad number"),
        ("max([]) < 1", "not enough arguments"),
        ("len() == 0", "not enough arguments"),
        ("§", "unrecognized"),
        ("now() > 1", "mismatched types"),
    ] {
        check(json!(null), text, Err(says));
    }
}

#[test]
fn it_is_bounded() {
    check(json!(1), &"(".repeat(2_000), Err("nested deeper"));
    check(json!(1), &format!("{}true", "!".repeat(2_000)), Err("nested deeper"));
    check(json!(1), &format!("true{}", " && true".repeat(400)), Err("operators in a row"));
    check(json!(1), &"x".repeat(5_000), Err("longer than"));
    let many: Vec<u32> = (0..5_000).collect();
    check(json!(many), "all(result, all(result, # >= 0))", Err("steps"));
    check(json!(many), "all(result, # >= 0)", Ok(true));
    check(json!(1), "len(1..100000) > 1", Err("at most"));
}

#[test]
fn times_of_range_queries() {
    assert_eq!(ms_ago("now()"), Ok(0));
    assert_eq!(ms_ago("now() - duration(\"10m\")"), Ok(600_000));
    assert_eq!(ms_ago("now() - duration('1h30m')"), Ok(5_400_000));
    assert!(ms_ago("duration('10m')").is_err());
    assert!(ms_ago("now() - duration('ten minutes')").is_err());
}

proptest::proptest! {
    /// Nothing from outside makes it panic or run away.
    #[test]
    fn arbitrary_text(text in ".{0,80}", number in proptest::prelude::any::<f64>()) {
        let _ = condition(&text, &Value::Float(number));
    }

    #[test]
    fn arbitrary_tokens(tokens in proptest::collection::vec(proptest::sample::select(vec![
        "result", "(", ")", "[", "]", "{", "}", "#", ".a", "all(", "max(", "len(", "1", "2.5", "'s'", "==", "<", "&&", "or", "not", "-", "in", "..",
        "?", ":", "??", ",", "**", "%", "/",
    ]), 0..24)) {
        let _ = condition(&tokens.join(" "), &Value::from_json(&json!([1, {"a": 2}, "x", null]), false));
    }
}
