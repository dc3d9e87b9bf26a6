//! A drawing backend for `plotters` that writes SVG with classes instead of colours, so that one drawing fits the light scheme,
//! the dark one and paper, and the content security policy needs no inline style.
//!
//! `plotters` has whole pixels; the drawing is made ten times as large and divided when it is written.

use std::{convert::Infallible, fmt::Write as _};

use plotters::style::{Color, RGBColor, ShapeStyle};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

/// Units of the drawing in one unit of the SVG.
pub(super) const SCALE: i32 = 10;

macro_rules! inks {
    ($($(#[$doc:meta])* $name:ident = $class:literal,)*) => {
        /// What a line, area or text is: the style sheet gives it its look.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Ink { $($(#[$doc])* $name,)* }
        impl Ink {
            const ALL: &'static [Self] = &[$(Self::$name),*];
            fn class(self) -> &'static str { match self { $(Self::$name => $class,)* } }
        }
    };
}

inks! {
    /// Hairline.
    Rule = "tl-rule",
    /// Light tick of the axis.
    Tick = "tl-tick",
    /// Number at the axis.
    Axis = "tl-axis",
    /// What is said where there is nothing to draw.
    Unit = "tl-unit",
    /// Planned weight.
    Plan = "tl-plan",
    /// Planned weight in numbers.
    PlanText = "tl-plan-text",
    /// The canary's line.
    Canary = "tl-canary",
    /// The weight's line.
    Weight = "tl-weight",
    /// The area under the weight.
    Fill = "tl-fill",
    /// Stable's line.
    Stable = "tl-stable",
    /// ±1 σ.
    Band = "tl-band",
    /// A limit.
    Limit = "tl-limit",
    /// A limit in words.
    LimitText = "tl-limit-text",
    /// A number at a line's end.
    Value = "tl-value",
    /// The canary's number.
    CanaryText = "tl-canary-text",
    /// Stable's number.
    StableText = "tl-stable-text",
    /// A number beyond its limit.
    BadText = "tl-bad-text",
    /// The budget's burn over the fast alert's short window.
    BurnFast = "tl-burn-fast",
    /// The same of the slow alert.
    BurnSlow = "tl-burn-slow",
    /// Time in which the release was held.
    Pause = "tl-pause",
    /// By whom, for how long and why.
    PauseText = "tl-pause-text",
    /// The moment of the breach.
    Breach = "tl-breach",
    /// Now.
    Now = "tl-now",
    /// Behind the word at now.
    NowBox = "tl-now-box",
    /// The word at now.
    NowText = "tl-now-text",
}

impl Ink {
    /// The style that stands for it inside `plotters`.
    pub(super) fn style(self) -> ShapeStyle {
        Color::stroke_width(&self.color(), 1)
    }
    /// The same, filled.
    pub(super) fn filled(self) -> ShapeStyle {
        self.color().filled()
    }
    /// The colour that stands for it inside `plotters`.
    pub(super) fn color(self) -> RGBColor {
        RGBColor(self as u8, 0, 0)
    }
    fn of(color: BackendColor) -> Option<Self> {
        if color.alpha == 0.0 { None } else { Self::ALL.get(usize::from(color.rgb.0)).copied() }
    }
}

/// Writes SVG elements into a string; the `svg` element around them is the caller's.
pub(super) struct ClassBackend<'a> {
    out: &'a mut String,
    size: (u32, u32),
}

impl<'a> ClassBackend<'a> {
    /// Of this size in units of the SVG.
    pub(super) fn new(out: &'a mut String, width: u32, height: u32) -> Self {
        Self { out, size: (width * SCALE.unsigned_abs(), height * SCALE.unsigned_abs()) }
    }

    /// From point to point, each told from the one before: most steps are alike, so the drawing compresses to two thirds of what it would with
    /// their places.
    fn points(&mut self, ink: Ink, path: impl IntoIterator<Item = BackendCoord>, closed: bool) {
        let _ = write!(self.out, "<path class=\"{}\" d=\"", ink.class());
        let mut before: Option<BackendCoord> = None;
        let mut steps = 0;
        for (x, y) in path {
            self.out.push(match (before, steps) {
                (None, _) => 'M',
                (Some(_), 0) => 'l',
                _ => ' ',
            });
            steps += i32::from(before.is_some());
            let (from_x, from_y) = before.unwrap_or_default();
            number(self.out, x - from_x);
            self.out.push(' ');
            number(self.out, y - from_y);
            before = Some((x, y));
        }
        self.out.push_str(if closed { "z\"/>" } else { "\"/>" });
    }

    fn attributes(&mut self, element: &str, ink: Ink, values: &[(&str, i32)]) {
        let _ = write!(self.out, "<{element} class=\"{}\"", ink.class());
        for (name, value) in values {
            let _ = write!(self.out, " {name}=\"");
            number(self.out, *value);
            self.out.push('"');
        }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for ClassBackend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }
    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }
    fn present(&mut self) -> Drawn {
        Ok(())
    }
    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }
    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        if let Some(ink) = Ink::of(style.color()) {
            self.attributes("line", ink, &[("x1", from.0), ("y1", from.1), ("x2", to.0), ("y2", to.1)]);
            self.out.push_str("/>");
        }
        Ok(())
    }
    fn draw_rect<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S, _fill: bool) -> Drawn {
        if let Some(ink) = Ink::of(style.color()) {
            self.attributes(
                "rect",
                ink,
                &[
                    ("x", a.0.min(b.0)),
                    ("y", a.1.min(b.1)),
                    ("width", (b.0 - a.0).abs()),
                    ("height", (b.1 - a.1).abs()),
                ],
            );
            self.out.push_str("/>");
        }
        Ok(())
    }
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        if let Some(ink) = Ink::of(style.color()) {
            self.points(ink, path, false);
        }
        Ok(())
    }
    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vert: I, style: &S) -> Drawn {
        if let Some(ink) = Ink::of(style.color()) {
            self.points(ink, vert, true);
        }
        Ok(())
    }
    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, _fill: bool) -> Drawn {
        if let Some(ink) = Ink::of(style.color()) {
            self.attributes(
                "circle",
                ink,
                &[("cx", center.0), ("cy", center.1), ("r", i32::try_from(radius).unwrap_or(0))],
            );
            self.out.push_str("/>");
        }
        Ok(())
    }
    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        let Some(ink) = Ink::of(style.color()) else { return Ok(()) };
        let anchor = style.anchor();
        // Font sizes are the style sheet's; 4 units put the middle of its 12 px letters on the point.
        let dy = match anchor.v_pos {
            VPos::Top => 10 * SCALE,
            VPos::Center => 4 * SCALE,
            VPos::Bottom => 0,
        };
        self.attributes("text", ink, &[("x", x), ("y", y + dy)]);
        match anchor.h_pos {
            HPos::Left => {}
            HPos::Center => self.out.push_str(" text-anchor=\"middle\""),
            HPos::Right => self.out.push_str(" text-anchor=\"end\""),
        }
        self.out.push('>');
        escape(self.out, text);
        self.out.push_str("</text>");
        Ok(())
    }
    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        _: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let chars = u32::try_from(text.chars().count()).unwrap_or(0);
        Ok((chars * 7 * SCALE.unsigned_abs(), 12 * SCALE.unsigned_abs()))
    }
}

/// Tenths, without a needless `.0`.
fn number(out: &mut String, tenths: i32) {
    let (whole, rest) = (tenths.abs() / SCALE, tenths.abs() % SCALE);
    let sign = if tenths < 0 { "-" } else { "" };
    let _ = if rest == 0 { write!(out, "{sign}{whole}") } else { write!(out, "{sign}{whole}.{rest}") };
}

/// Text from outside becomes text, never markup.
pub(super) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths() {
        for (n, text) in [(0, "0"), (5, "0.5"), (-5, "-0.5"), (1234, "123.4"), (-1230, "-123")] {
            let mut out = String::new();
            number(&mut out, n);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn a_line_goes_from_point_to_point() {
        let mut out = String::new();
        let mut backend = ClassBackend::new(&mut out, 100, 100);
        backend.points(Ink::Rule, [(10, 25), (15, 20), (15, 120)], false);
        backend.points(Ink::Rule, [(10, 25)], true);
        assert_eq!(out, "<path class=\"tl-rule\" d=\"M1 2.5l0.5 -0.5 0 10\"/><path class=\"tl-rule\" d=\"M1 2.5z\"/>");
    }

    #[test]
    fn markup_is_escaped() {
        let mut out = String::new();
        escape(&mut out, "<a onload=\"x\" b='y'>&\u{1}");
        assert_eq!(out, "&lt;a onload=&quot;x&quot; b=&#39;y&#39;&gt;&amp; ");
    }

    #[test]
    fn every_ink_is_found_by_its_colour() {
        for ink in Ink::ALL {
            assert_eq!(Ink::of(ink.color().to_backend_color()), Some(*ink));
        }
    }
}
