//! The plot beside the tables.

use plotters::prelude::*;

use crate::tables::{RULES, Row, is_fair};

/// Canary requests exposed, one dot for each rule in each faulty scenario.
pub(crate) fn draw(path: &std::path::Path, table: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    const COLOURS: [RGBColor; RULES.len()] = [
        RGBColor(0x9a, 0x9a, 0x9a),
        RGBColor(0xc9, 0xa2, 0x27),
        RGBColor(0xb0, 0x6b, 0x2e),
        RGBColor(0x5d, 0x8a, 0x3c),
        RGBColor(0x7a, 0x5b, 0xa8),
        RGBColor(0x6f, 0xae, 0xd8),
        RGBColor(0x1f, 0x77, 0xb4),
        RGBColor(0x0b, 0x3d, 0x66),
    ];
    let faulty: Vec<_> = table.iter().filter(|r| !r.scenario.healthy).collect();
    let height = 40 + faulty.len() as u32 * 22 + 80;
    let root = SVGBackend::new(path, (980, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |x: i32, y: i32, said: String, colour: RGBColor| {
        root.draw(&Text::new(said, (x, y), ("sans-serif", 12).into_font().color(&colour)))
    };
    text(12, 8, "Canary requests exposed until the stop (mean; a rollout that is not stopped counts in full). Hollow: the rule stops more than 1 % of healthy canaries.".to_owned(), BLACK)?;
    let x = |exposed: f64| 170 + (exposed.max(1.0).log10() / 6.0 * 780.0) as i32;
    for power in 0..=6 {
        let at = x(10_f64.powi(power));
        root.draw(&PathElement::new([(at, 34), (at, height as i32 - 72)], RGBColor(0xe4, 0xe4, 0xe4)))?;
        text(at - 8, height as i32 - 68, format!("10^{power}"), RGBColor(0x60, 0x60, 0x60))?;
    }
    for (row, Row { scenario: s, cells, .. }) in faulty.iter().enumerate() {
        let y = 46 + row as i32 * 22;
        text(12, y - 6, format!("{}/s  {}", s.rate, s.name), BLACK)?;
        for (rule, c) in cells.iter().enumerate() {
            let style =
                if is_fair(table, rule, s.rate) { COLOURS[rule].filled() } else { COLOURS[rule].stroke_width(1) };
            root.draw(&Circle::new((x(c.exposed), y), 4, style))?;
        }
    }
    for (rule, (name, _)) in RULES.iter().enumerate() {
        let (at, y) = (12 + (rule as i32 % 4) * 240, height as i32 - 44 + (rule as i32 / 4) * 20);
        root.draw(&Circle::new((at + 4, y + 6), 4, COLOURS[rule].filled()))?;
        text(at + 14, y, (*name).to_owned(), BLACK)?;
    }
    root.present()?;
    Ok(())
}
