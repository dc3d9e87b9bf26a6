//! From text to a tree: a Pratt parser with expr-lang's precedences.

use super::{MAX_DEPTH, MAX_LEN, functions};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Node>),
    /// `result`.
    Result,
    /// `#`, the element a predicate looks at.
    Element,
    /// `#index`, its place.
    Index,
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary(Op, Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    /// Member; with `true` nil gives nil (`?.`).
    Member(Box<Node>, Box<Node>, bool),
    Slice(Box<Node>, Option<Box<Node>>, Option<Box<Node>>),
    Call(&'static str, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Coalesce,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(Node),
    Str(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longest first.
const SYMBOLS: [&str; 35] = [
    "?.", "??", "||", "&&", "==", "!=", "<=", ">=", "..", "**", "(", ")", "[", "]", "{", "}", ",", "?", ":", ".", "#",
    "+", "-", "*", "/", "%", "^", "<", ">", "!", "|", ";", "=", "~", "&",
];

pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.len() > MAX_LEN {
        return Err(format!("the expression is longer than {MAX_LEN} bytes"));
    }
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0, predicates: 0 };
    let node = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(node),
        other => Err(unexpected(other)),
    }
}

fn unexpected(token: &Token) -> String {
    match token {
        Token::Number(_) => "unexpected token Number".to_owned(),
        Token::Str(s) => format!("unexpected token String({s:?})"),
        Token::Name(n) => format!("unexpected token Identifier({n:?})"),
        Token::Symbol(s) => format!("unexpected token Operator({s:?})"),
        Token::End => "unexpected token EOF".to_owned(),
    }
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Ok(tokens);
        };
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/").ok_or("unclosed comment")?.1;
        } else if first.is_ascii_digit() || (first == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit())) {
            let (token, after) = number(rest)?;
            tokens.push(token);
            rest = after;
        } else if matches!(first, '"' | '\'' | '`') {
            let (token, after) = string(rest, first)?;
            tokens.push(token);
            rest = after;
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            tokens.push(Token::Name(name.to_owned()));
            rest = after;
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Symbol(symbol));
            rest = rest.get(symbol.len()..).unwrap_or_default();
        } else {
            return Err(format!("unrecognized character: {first:?}"));
        }
    }
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let bytes = text.as_bytes();
    let is = |i: usize, set: &[u8]| bytes.get(i).is_some_and(|b| set.contains(b));
    let digit = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_digit() || *b == b'_');
    if is(0, b"0") && is(1, b"xX") {
        let end = text
            .char_indices()
            .skip(2)
            .find(|(_, c)| !c.is_ascii_hexdigit() && *c != '_')
            .map_or(text.len(), |(i, _)| i);
        let (head, tail) = text.split_at(end);
        let digits = head.get(2..).unwrap_or_default().replace('_', "");
        let value = i64::from_str_radix(&digits, 16).map_err(|_| format!("bad number syntax: {head:?}"))?;
        return Ok((Token::Number(Node::Int(value)), tail));
    }
    let mut end = 0;
    while digit(end) {
        end += 1;
    }
    let mut is_float = false;
    // `1..3` is a range, not `1.` and `.3`.
    if is(end, b".") && !is(end + 1, b".") {
        is_float = true;
        end += 1;
        while digit(end) {
            end += 1;
        }
    }
    if is(end, b"eE") {
        let sign = usize::from(is(end + 1, b"+-"));
        if digit(end + 1 + sign) {
            is_float = true;
            end += 1 + sign;
            while digit(end) {
                end += 1;
            }
        }
    }
    let (head, tail) = text.split_at(end);
    let plain = head.replace('_', "");
    let bad = || format!("bad number syntax: {head:?}");
    if tail.chars().next().is_some_and(|c| c.is_alphanumeric()) {
        return Err(bad());
    }
    let node = if is_float {
        Node::Float(plain.parse().map_err(|_| bad())?)
    } else {
        Node::Int(plain.parse().map_err(|_| bad())?)
    };
    Ok((Token::Number(node), tail))
}

fn string(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Str(out), text.get(i + 1..).unwrap_or_default()));
        }
        if c != '\\' || quote == '`' {
            out.push(c);
            continue;
        }
        match chars.next().map(|(_, c)| c) {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(c @ ('\\' | '\'' | '"' | '`')) => out.push(c),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                let c = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                out.push(c.ok_or_else(|| format!("invalid escape: \\u{digits}"))?);
            }
            other => return Err(format!("unknown escape: {other:?}")),
        }
    }
    Err("literal not terminated".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// How many predicates the present place is inside of.
    predicates: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is = self.is(symbol);
        if is {
            self.at += 1;
        }
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.take(symbol) { Ok(()) } else { Err(unexpected(self.peek())) }
    }

    /// A binary operator here, with its precedence and how many tokens it has.
    fn operator(&self) -> Result<Option<(Op, u16, usize)>, String> {
        let name = match self.peek() {
            Token::Symbol(s) => *s,
            Token::Name(n) => n.as_str(),
            _ => return Ok(None),
        };
        let second = || matches!(self.tokens.get(self.at + 1), Some(Token::Name(n)) if n == "in");
        Ok(Some(match name {
            "or" | "||" => (Op::Or, 10, 1),
            "and" | "&&" => (Op::And, 15, 1),
            "==" => (Op::Equal, 20, 1),
            "!=" => (Op::NotEqual, 20, 1),
            "<" => (Op::Less, 20, 1),
            "<=" => (Op::LessOrEqual, 20, 1),
            ">" => (Op::Greater, 20, 1),
            ">=" => (Op::GreaterOrEqual, 20, 1),
            "in" => (Op::In, 20, 1),
            "not" if second() => (Op::NotIn, 20, 2),
            "contains" => (Op::Contains, 20, 1),
            "startsWith" => (Op::StartsWith, 20, 1),
            "endsWith" => (Op::EndsWith, 20, 1),
            ".." => (Op::Range, 25, 1),
            "+" => (Op::Add, 30, 1),
            "-" => (Op::Subtract, 30, 1),
            "*" => (Op::Multiply, 60, 1),
            "/" => (Op::Divide, 60, 1),
            "%" => (Op::Modulo, 60, 1),
            "**" | "^" => (Op::Power, 100, 1),
            "??" => (Op::Coalesce, 500, 1),
            "matches" => {
                return Err(
                    "the operator matches is not supported here: use contains, startsWith or endsWith".to_owned()
                );
            }
            "|" => return Err("pipes are not supported here: write the call the other way round".to_owned()),
            _ => return Ok(None),
        }))
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("the expression is nested deeper than {MAX_DEPTH}"));
        }
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    fn expression(&mut self, at_least: u16) -> Result<Node, String> {
        self.deeper(|p| p.expression_here(at_least))
    }

    fn expression_here(&mut self, at_least: u16) -> Result<Node, String> {
        let mut left = self.unary()?;
        // The right side of a comparison that another comparison follows: `1 < x < 3`.
        let mut compared: Option<Node> = None;
        // A chain of operators makes a tree as deep as it is long; so many are far from any condition.
        let mut chain = 0;
        while let Some((op, precedence, tokens)) = self.operator()?.filter(|(_, precedence, _)| *precedence >= at_least)
        {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err(format!("more than {MAX_DEPTH} operators in a row"));
            }
            self.at += tokens;
            // `**` alone is right-associative.
            let right = self.expression(if op == Op::Power { precedence } else { precedence + 1 })?;
            let compares = matches!(op, Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual);
            left = match compared.take().filter(|_| compares) {
                Some(middle) => {
                    let second = Node::Binary(op, Box::new(middle), Box::new(right.clone()));
                    Node::Binary(Op::And, Box::new(left), Box::new(second))
                }
                None => Node::Binary(op, Box::new(left), Box::new(right.clone())),
            };
            compared = compares.then_some(right);
        }
        if at_least == 0 && self.take("?") {
            let (yes, no);
            if self.take(":") {
                no = self.expression(0)?;
                return Ok(Node::Binary(Op::Or, Box::new(left), Box::new(no)));
            }
            yes = self.expression(0)?;
            self.expect(":")?;
            no = self.expression(0)?;
            left = Node::Conditional(Box::new(left), Box::new(yes), Box::new(no));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, String> {
        let node = match self.peek() {
            Token::Name(n) if n == "not" => {
                self.at += 1;
                return Ok(Node::Not(Box::new(self.expression(50)?)));
            }
            Token::Symbol("!") => {
                self.at += 1;
                return Ok(Node::Not(Box::new(self.expression(50)?)));
            }
            Token::Symbol("-") => {
                self.at += 1;
                return Ok(Node::Negative(Box::new(self.expression(90)?)));
            }
            Token::Symbol("+") => {
                self.at += 1;
                return self.expression(90);
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inside = self.expression(0)?;
                self.expect(")")?;
                inside
            }
            _ => self.primary()?,
        };
        self.postfix(node)
    }

    fn primary(&mut self) -> Result<Node, String> {
        let token = self.next();
        Ok(match token {
            Token::Number(node) => node,
            Token::Str(text) => Node::Str(text),
            Token::Symbol("[") => {
                let mut items = Vec::new();
                while !self.take("]") {
                    items.push(self.expression(0)?);
                    if !self.is("]") {
                        self.expect(",")?;
                    }
                }
                Node::List(items)
            }
            Token::Symbol("#") if self.predicates > 0 => {
                if matches!(self.peek(), Token::Name(n) if n == "index") {
                    self.at += 1;
                    Node::Index
                } else {
                    Node::Element
                }
            }
            // `.field` is `#.field` inside a predicate; the dot is left for the postfix.
            Token::Symbol(".") if self.predicates > 0 => {
                self.at -= 1;
                Node::Element
            }
            Token::Name(name) => match name.as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "nil" => Node::Nil,
                "result" => Node::Result,
                "let" => return Err("let is not supported here: write the value where it is used".to_owned()),
                _ => return self.call(&name),
            },
            other => return Err(unexpected(&other)),
        })
    }

    fn call(&mut self, name: &str) -> Result<Node, String> {
        let Some((function, least, most, takes_predicate)) = functions::signature(name) else {
            return Err(format!("unknown name {name}"));
        };
        if !self.take("(") {
            return Err(format!("{name} is a function: call it"));
        }
        let mut arguments = Vec::new();
        while !self.take(")") {
            let is_predicate = takes_predicate && arguments.len() == 1;
            self.predicates += usize::from(is_predicate);
            let in_braces = is_predicate && self.take("{");
            arguments.push(self.expression(0)?);
            if in_braces {
                self.expect("}")?;
            }
            self.predicates -= usize::from(is_predicate);
            if !self.is(")") {
                self.expect(",")?;
            }
        }
        if arguments.len() < least {
            return Err(format!("not enough arguments to call {name}"));
        }
        if arguments.len() > most {
            return Err(format!("too many arguments to call {name}"));
        }
        Ok(Node::Call(function, arguments))
    }

    fn postfix(&mut self, mut node: Node) -> Result<Node, String> {
        let mut chain = 0;
        loop {
            let optional = self.is("?.");
            if optional || self.is(".") {
                self.at += 1;
                let name = match self.next() {
                    Token::Name(name) => name,
                    other => return Err(unexpected(&other)),
                };
                if self.is("(") {
                    return Err(format!("type {name} has no method {name}"));
                }
                node = Node::Member(Box::new(node), Box::new(Node::Str(name)), optional);
            } else if self.take("[") {
                node = self.index(node)?;
            } else {
                return Ok(node);
            }
            chain += 1;
            if chain > MAX_DEPTH {
                return Err(format!("the expression is nested deeper than {MAX_DEPTH}"));
            }
        }
    }

    fn index(&mut self, node: Node) -> Result<Node, String> {
        let from = if self.is(":") { None } else { Some(Box::new(self.expression(0)?)) };
        if self.take(":") {
            let to = if self.is("]") { None } else { Some(Box::new(self.expression(0)?)) };
            self.expect("]")?;
            return Ok(Node::Slice(Box::new(node), from, to));
        }
        self.expect("]")?;
        let Some(index) = from else { return Err(unexpected(self.peek())) };
        Ok(Node::Member(Box::new(node), index, false))
    }
}
