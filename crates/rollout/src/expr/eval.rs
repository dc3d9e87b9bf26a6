//! From a tree to a value, within a number of steps.

use super::{
    MAX_STEPS, Value, functions,
    parser::{Node, Op},
};

/// Longest list that a range makes.
const MAX_RANGE: i64 = 10_000;

pub(super) struct Evaluator<'a> {
    pub(super) result: &'a Value,
    steps: u32,
    /// The elements that the predicates around the present place look at, with their places.
    elements: Vec<(Value, usize)>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(result: &'a Value) -> Self {
        Self { result, steps: 0, elements: Vec::new() }
    }

    pub(super) fn run(&mut self, node: &Node) -> Result<Value, String> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("the evaluation takes more than {MAX_STEPS} steps"));
        }
        Ok(match node {
            Node::Nil => Value::Nil,
            Node::Bool(b) => Value::Bool(*b),
            Node::Int(i) => Value::Int(*i),
            Node::Float(f) => Value::Float(*f),
            Node::Str(s) => Value::Str(s.as_str().into()),
            Node::List(items) => Value::list(items.iter().map(|i| self.run(i)).collect::<Result<_, _>>()?),
            Node::Result => self.result.clone(),
            Node::Element => self.elements.last().map(|(v, _)| v.clone()).ok_or("# outside of a predicate")?,
            Node::Index => Value::Int(self.elements.last().map_or(0, |(_, i)| i64::try_from(*i).unwrap_or(i64::MAX))),
            Node::Not(inner) => Value::Bool(!self.bool(inner, "!")?),
            Node::Negative(inner) => match self.run(inner)? {
                Value::Int(i) => Value::Int(i.checked_neg().ok_or("integer overflow")?),
                Value::Float(f) => Value::Float(-f),
                Value::Duration(ms) => Value::Duration(-ms),
                other => return Err(format!("invalid operation: - (mismatched type {})", other.type_name())),
            },
            Node::Conditional(condition, yes, no) => {
                if self.bool(condition, "?:")? {
                    self.run(yes)?
                } else {
                    self.run(no)?
                }
            }
            Node::Binary(op, left, right) => self.binary(*op, left, right)?,
            Node::Member(of, key, optional) => {
                let of = self.run(of)?;
                if *optional && of == Value::Nil {
                    return Ok(Value::Nil);
                }
                let key = self.run(key)?;
                member(&of, &key)?
            }
            Node::Slice(of, from, to) => {
                let of = self.run(of)?;
                let from = from.as_ref().map(|n| self.int(n)).transpose()?;
                let to = to.as_ref().map(|n| self.int(n)).transpose()?;
                slice(&of, from, to)?
            }
            Node::Call(name, arguments) => functions::call(self, name, arguments)?,
        })
    }

    /// Runs a predicate on an element.
    pub(super) fn on_element(&mut self, predicate: &Node, element: &Value, place: usize) -> Result<Value, String> {
        self.elements.push((element.clone(), place));
        let value = self.run(predicate);
        self.elements.pop();
        value
    }

    pub(super) fn holds(&mut self, predicate: &Node, element: &Value, place: usize) -> Result<bool, String> {
        match self.on_element(predicate, element, place)? {
            Value::Bool(b) => Ok(b),
            other => Err(format!("predicate should return boolean (got {})", other.type_name())),
        }
    }

    /// Many elements are looked at in one step of the tree: each counts.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps > MAX_STEPS { Err(format!("the evaluation takes more than {MAX_STEPS} steps")) } else { Ok(()) }
    }

    fn bool(&mut self, node: &Node, operator: &str) -> Result<bool, String> {
        match self.run(node)? {
            Value::Bool(b) => Ok(b),
            other => Err(format!("invalid operation: {operator} (mismatched type {})", other.type_name())),
        }
    }

    fn int(&mut self, node: &Node) -> Result<i64, String> {
        match self.run(node)? {
            Value::Int(i) => Ok(i),
            other => Err(format!("an index must be an integer, not {}", other.type_name())),
        }
    }

    fn binary(&mut self, op: Op, left: &Node, right: &Node) -> Result<Value, String> {
        match op {
            Op::Or => return Ok(Value::Bool(self.bool(left, "||")? || self.bool(right, "||")?)),
            Op::And => return Ok(Value::Bool(self.bool(left, "&&")? && self.bool(right, "&&")?)),
            Op::Coalesce => {
                let value = self.run(left)?;
                return if value == Value::Nil { self.run(right) } else { Ok(value) };
            }
            _ => {}
        }
        let (a, b) = (self.run(left)?, self.run(right)?);
        let mismatch = |a: &Value, b: &Value| {
            format!("invalid operation: {} (mismatched types {} and {})", op.symbol(), a.type_name(), b.type_name())
        };
        Ok(match op {
            Op::Equal | Op::NotEqual => {
                let equal = match a.equals(&b) {
                    Some(equal) => equal,
                    // What is inside of a result has no type that expr knows beforehand.
                    None if is_dynamic(left) || is_dynamic(right) => false,
                    None => return Err(mismatch(&a, &b)),
                };
                Value::Bool(equal == (op == Op::Equal))
            }
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => {
                Value::Bool(compare(op, &a, &b).ok_or_else(|| mismatch(&a, &b))?)
            }
            Op::In | Op::NotIn => Value::Bool(self.contains(&b, &a)? == (op == Op::In)),
            Op::Contains | Op::StartsWith | Op::EndsWith => match (&a, &b) {
                (Value::Str(a), Value::Str(b)) => Value::Bool(match op {
                    Op::Contains => a.contains(&**b),
                    Op::StartsWith => a.starts_with(&**b),
                    _ => a.ends_with(&**b),
                }),
                _ => return Err(mismatch(&a, &b)),
            },
            Op::Range => match (&a, &b) {
                (Value::Int(a), Value::Int(b)) if b.saturating_sub(*a) <= MAX_RANGE => {
                    Value::list((*a..=*b).map(Value::Int).collect())
                }
                (Value::Int(_), Value::Int(_)) => return Err(format!("a range has at most {MAX_RANGE} numbers")),
                _ => return Err(mismatch(&a, &b)),
            },
            _ => arithmetic(op, &a, &b).ok_or_else(|| mismatch(&a, &b))??,
        })
    }

    fn contains(&mut self, all: &Value, one: &Value) -> Result<bool, String> {
        match (all, one) {
            (Value::List(list), one) => {
                self.spend(list.len())?;
                Ok(list.iter().any(|v| v.equals(one) == Some(true)))
            }
            (Value::Map(map), Value::Str(key)) => Ok(map.contains_key(&**key)),
            (Value::Nil, _) => Ok(false),
            _ => Err(format!("operator \"in\" not defined on {}", all.type_name())),
        }
    }
}

impl Op {
    fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::Coalesce => "??",
        }
    }
}

fn is_dynamic(node: &Node) -> bool {
    matches!(node, Node::Member(..) | Node::Element | Node::Call("default", _))
}

fn compare(op: Op, a: &Value, b: &Value) -> Option<bool> {
    let by = |ordering: std::cmp::Ordering| match op {
        Op::Less => ordering.is_lt(),
        Op::LessOrEqual => ordering.is_le(),
        Op::Greater => ordering.is_gt(),
        _ => ordering.is_ge(),
    };
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => by(a.cmp(b)),
        (Value::Str(a), Value::Str(b)) => by(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) | (Value::Duration(a), Value::Duration(b)) => by(a.cmp(b)),
        // NaN is neither less, nor equal, nor greater: every comparison with it is false, as in Go.
        _ => a.number()?.partial_cmp(&b.number()?).is_some_and(by),
    })
}

/// `None` for types that do not go together.
fn arithmetic(op: Op, a: &Value, b: &Value) -> Option<Result<Value, String>> {
    let int = |value: Option<i64>| value.map(Value::Int).ok_or_else(|| "integer overflow".to_owned());
    Some(match (op, a, b) {
        (Op::Add, Value::Str(a), Value::Str(b)) if a.len() + b.len() <= super::MAX_LEN * 4 => {
            Ok(Value::Str(format!("{a}{b}").into()))
        }
        (Op::Add, Value::Str(_), Value::Str(_)) => Err("the text is too long".to_owned()),
        (Op::Add, Value::Time(t), Value::Duration(d)) | (Op::Add, Value::Duration(d), Value::Time(t)) => {
            Ok(Value::Time(t.saturating_add(*d)))
        }
        (Op::Subtract, Value::Time(t), Value::Duration(d)) => Ok(Value::Time(t.saturating_sub(*d))),
        (Op::Subtract, Value::Time(a), Value::Time(b)) => Ok(Value::Duration(a.saturating_sub(*b))),
        (Op::Add, Value::Duration(a), Value::Duration(b)) => Ok(Value::Duration(a.saturating_add(*b))),
        (Op::Subtract, Value::Duration(a), Value::Duration(b)) => Ok(Value::Duration(a.saturating_sub(*b))),
        (Op::Add, Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Op::Subtract, Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Op::Multiply, Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Op::Modulo, Value::Int(_), Value::Int(0)) => Err("integer divide by zero".to_owned()),
        (Op::Modulo, Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Op::Modulo, _, _) => return None,
        _ => {
            let (a, b) = (a.number()?, b.number()?);
            Ok(Value::Float(match op {
                Op::Add => a + b,
                Op::Subtract => a - b,
                Op::Multiply => a * b,
                // Always a float, also between integers.
                Op::Divide => a / b,
                Op::Power => a.powf(b),
                _ => return None,
            }))
        }
    })
}

fn member(of: &Value, key: &Value) -> Result<Value, String> {
    match (of, key) {
        (Value::Map(map), Value::Str(key)) => Ok(map.get(&**key).cloned().unwrap_or(Value::Nil)),
        (Value::List(list), Value::Int(i)) => {
            let place = if *i < 0 { i64::try_from(list.len()).unwrap_or(i64::MAX).saturating_add(*i) } else { *i };
            let found = usize::try_from(place).ok().and_then(|place| list.get(place));
            found.cloned().ok_or_else(|| format!("index out of range: {i} (array length is {})", list.len()))
        }
        (Value::List(list), Value::Float(f)) if f.fract() == 0.0 => {
            let found = if *f >= 0.0 { list.get(*f as usize) } else { None };
            found.cloned().ok_or_else(|| format!("index out of range: {f} (array length is {})", list.len()))
        }
        _ => Err(format!("cannot fetch {key} from {}", of.type_name())),
    }
}

fn slice(of: &Value, from: Option<i64>, to: Option<i64>) -> Result<Value, String> {
    let Value::List(list) = of else { return Err(format!("cannot slice {}", of.type_name())) };
    let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let bound = |i: i64| usize::try_from(if i < 0 { len.saturating_add(i) } else { i }.clamp(0, len)).unwrap_or(0);
    let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(len)));
    Ok(Value::list(list.get(from..to).unwrap_or_default().to_vec()))
}
