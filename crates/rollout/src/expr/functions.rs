//! The functions: Argo's own, and expr-lang's over lists, numbers and text.

use super::{Value, eval::Evaluator, parser::Node};
use crate::recipe::duration;

/// Name, least and most arguments, and whether the second is a predicate.
type Signature = (&'static str, usize, usize, bool);

const MANY: usize = 32;

const SIGNATURES: [Signature; 40] = [
    ("asInt", 1, 1, false),
    ("asFloat", 1, 1, false),
    ("isNaN", 1, 1, false),
    ("isInf", 1, 1, false),
    ("isNil", 1, 1, false),
    ("default", 2, 2, false),
    ("all", 2, 2, true),
    ("any", 2, 2, true),
    ("none", 2, 2, true),
    ("one", 2, 2, true),
    ("filter", 2, 2, true),
    ("map", 2, 2, true),
    ("count", 1, 2, true),
    ("find", 2, 2, true),
    ("findIndex", 2, 2, true),
    ("sum", 1, 2, true),
    ("len", 1, 1, false),
    ("max", 1, MANY, false),
    ("min", 1, MANY, false),
    ("mean", 1, MANY, false),
    ("median", 1, MANY, false),
    ("first", 1, 1, false),
    ("last", 1, 1, false),
    ("abs", 1, 1, false),
    ("ceil", 1, 1, false),
    ("floor", 1, 1, false),
    ("round", 1, 1, false),
    ("int", 1, 1, false),
    ("float", 1, 1, false),
    ("string", 1, 1, false),
    ("upper", 1, 1, false),
    ("lower", 1, 1, false),
    ("trim", 1, 1, false),
    ("hasPrefix", 2, 2, false),
    ("hasSuffix", 2, 2, false),
    ("keys", 1, 1, false),
    ("values", 1, 1, false),
    ("type", 1, 1, false),
    ("now", 0, 0, false),
    ("duration", 1, 1, false),
];

pub(super) fn signature(name: &str) -> Option<Signature> {
    SIGNATURES.into_iter().find(|s| s.0 == name)
}

pub(super) fn call(e: &mut Evaluator<'_>, name: &str, arguments: &[Node]) -> Result<Value, String> {
    let first = match arguments.first() {
        Some(node) => e.run(node)?,
        None => return Ok(Value::Time(0)), // `now` is the one without arguments.
    };
    if let Some(predicate) = arguments.get(1)
        && signature(name).is_some_and(|s| s.3)
    {
        return with_predicate(e, name, &list(name, &first)?, predicate);
    }
    let second = arguments.get(1).map(|n| e.run(n)).transpose()?;
    Ok(match (name, &first) {
        // These two look at `result`, whatever they are given: Argo binds it when the condition is compiled.
        ("isNil", _) => Value::Bool(*e.result == Value::Nil),
        ("default", _) => {
            if *e.result == Value::Nil {
                second.unwrap_or(Value::Nil)
            } else {
                e.result.clone()
            }
        }
        ("asInt" | "int", value) => as_int(name, value)?,
        ("asFloat" | "float", value) => as_float(name, value)?,
        ("isNaN" | "isInf" | "abs" | "ceil" | "floor" | "round", value) => {
            let number = value.number().ok_or_else(|| unfit(name, value))?;
            match (name, value) {
                ("isNaN", _) => Value::Bool(number.is_nan()),
                ("isInf", _) => Value::Bool(number.is_infinite()),
                ("abs", Value::Int(i)) => Value::Int(i.checked_abs().ok_or("integer overflow")?),
                ("abs", _) => Value::Float(number.abs()),
                ("ceil", _) => Value::Float(number.ceil()),
                ("floor", _) => Value::Float(number.floor()),
                _ => Value::Float(number.round()),
            }
        }
        ("len", Value::List(list)) => count(list.len()),
        ("len", Value::Map(map)) => count(map.len()),
        ("len", Value::Str(text)) => count(text.chars().count()),
        ("count", value) => {
            let list = list(name, value)?;
            let yes = list.iter().map(|v| if let Value::Bool(b) = v { Ok(*b) } else { Err(unfit(name, v)) });
            count(yes.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|b| *b).count())
        }
        ("sum", value) => sum(&list(name, value)?)?,
        ("max" | "min" | "mean" | "median", _) => {
            let mut numbers = Vec::new();
            for argument in arguments {
                flatten(name, &e.run(argument)?, &mut numbers)?;
            }
            e.spend(numbers.len())?;
            statistic(name, numbers)?
        }
        ("first", Value::List(list)) => list.first().cloned().unwrap_or(Value::Nil),
        ("last", Value::List(list)) => list.last().cloned().unwrap_or(Value::Nil),
        ("string", Value::Str(_)) => first,
        ("string", value) => Value::Str(value.to_string().into()),
        ("upper", Value::Str(text)) => Value::Str(text.to_uppercase().into()),
        ("lower", Value::Str(text)) => Value::Str(text.to_lowercase().into()),
        ("trim", Value::Str(text)) => Value::Str(text.trim().into()),
        ("hasPrefix" | "hasSuffix", Value::Str(text)) => match second {
            Some(Value::Str(part)) if name == "hasPrefix" => Value::Bool(text.starts_with(&*part)),
            Some(Value::Str(part)) => Value::Bool(text.ends_with(&*part)),
            other => return Err(unfit(name, &other.unwrap_or(Value::Nil))),
        },
        ("keys", Value::Map(map)) => Value::list(map.keys().map(|k| Value::Str(k.as_str().into())).collect()),
        ("values", Value::Map(map)) => Value::list(map.values().cloned().collect()),
        ("type", value) => Value::Str(type_word(value).into()),
        ("duration", Value::Str(text)) => Value::Duration(duration::go_ms(text)?),
        (_, value) => return Err(unfit(name, value)),
    })
}

fn with_predicate(e: &mut Evaluator<'_>, name: &str, list: &[Value], predicate: &Node) -> Result<Value, String> {
    let mut yes = 0_usize;
    let mut out = Vec::new();
    for (place, element) in list.iter().enumerate() {
        if matches!(name, "map" | "sum") {
            out.push(e.on_element(predicate, element, place)?);
            continue;
        }
        let holds = e.holds(predicate, element, place)?;
        match name {
            "all" if !holds => return Ok(Value::Bool(false)),
            "any" if holds => return Ok(Value::Bool(true)),
            "none" if holds => return Ok(Value::Bool(false)),
            "find" if holds => return Ok(element.clone()),
            "findIndex" if holds => return Ok(count(place)),
            "filter" if holds => out.push(element.clone()),
            _ => yes += usize::from(holds),
        }
    }
    Ok(match name {
        "all" | "none" => Value::Bool(true),
        "any" => Value::Bool(false),
        "one" => Value::Bool(yes == 1),
        "find" | "findIndex" => Value::Nil,
        "count" => count(yes),
        "sum" => sum(&out)?,
        _ => Value::list(out),
    })
}

fn unfit(name: &str, value: &Value) -> String {
    match name {
        "asInt" | "asFloat" => format!("{name}() not supported on {} {value}", value.type_name()),
        _ => format!("invalid argument for {name} (type {})", value.type_name()),
    }
}

fn list(name: &str, value: &Value) -> Result<std::sync::Arc<Vec<Value>>, String> {
    match value {
        Value::List(list) => Ok(list.clone()),
        other => Err(format!("builtin {name} takes only array (got {})", other.type_name())),
    }
}

fn count(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn as_int(name: &str, value: &Value) -> Result<Value, String> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        // Towards zero, as Go converts.
        Value::Float(f) => Ok(Value::Int(*f as i64)),
        Value::Str(text) => {
            text.parse().map(Value::Int).map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        }
        other => Err(unfit(name, other)),
    }
}

fn as_float(name: &str, value: &Value) -> Result<Value, String> {
    match value {
        Value::Str(text) => {
            text.parse().map(Value::Float).map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        }
        other => other.number().map(Value::Float).ok_or_else(|| unfit(name, other)),
    }
}

fn sum(list: &[Value]) -> Result<Value, String> {
    let mut total = Value::Int(0);
    for value in list {
        total = match (&total, value) {
            (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or("integer overflow")?),
            (a, b) => Value::Float(a.number().unwrap_or(0.0) + b.number().ok_or_else(|| unfit("sum", b))?),
        };
    }
    Ok(total)
}

fn flatten(name: &str, value: &Value, out: &mut Vec<Value>) -> Result<(), String> {
    match value {
        Value::List(list) => list.iter().try_for_each(|v| flatten(name, v, out)),
        Value::Int(_) | Value::Float(_) => {
            out.push(value.clone());
            Ok(())
        }
        other => Err(unfit(name, other)),
    }
}

fn statistic(name: &str, numbers: Vec<Value>) -> Result<Value, String> {
    let floats: Vec<f64> = numbers.iter().filter_map(Value::number).collect();
    match name {
        "mean" if floats.is_empty() => Ok(Value::Float(0.0)),
        "mean" => Ok(Value::Float(floats.iter().sum::<f64>() / floats.len() as f64)),
        "median" => {
            let mut floats = floats;
            floats.sort_by(f64::total_cmp);
            let middle = floats.len() / 2;
            let at = |i: usize| floats.get(i).copied().unwrap_or(0.0);
            Ok(Value::Float(if floats.len() % 2 == 1 {
                at(middle)
            } else {
                (at(middle.wrapping_sub(1)) + at(middle)) / 2.0
            }))
        }
        _ => {
            let mut best: Option<(Value, f64)> = None;
            for value in numbers {
                let Some(number) = value.number() else { continue };
                // NaN spoils the whole: a maximum that leaves it out would look healthier than what was measured.
                let better = match &best {
                    None => true,
                    Some((_, b)) => {
                        number.is_nan() || (!b.is_nan() && if name == "max" { number > *b } else { number < *b })
                    }
                };
                if better {
                    best = Some((value, number));
                }
            }
            best.map(|(value, _)| value).ok_or_else(|| format!("not enough arguments to call {name}"))
        }
    }
}

fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "map",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
    }
}
