//! The rollback envelope: what happens if it goes wrong, or what was done.

use maud::html;
use model::{Kind, event::RollbackExecuted};
use projections::{ReleaseView, say};

use crate::components::digest;

/// The card.
pub(super) fn markup(v: &ReleaseView) -> String {
    let done = v.receipts.iter().filter(|r| r.payload.kind == Kind::RollbackExecuted);
    let acts: Vec<_> = done.filter_map(|r| Some((r.index, r.payload.facts::<RollbackExecuted>().ok()?))).collect();
    html! {
        section.envelope aria-labelledby="envelope" {
            h2 #envelope {
                "If it goes wrong "
                span {
                    @match &v.envelope {
                        Some((index, _)) => a.door href={ "/receipts/" (index) } { "armed, receipt " (say::count(*index)) },
                        None => "not armed",
                    }
                }
            }
            @match &v.envelope {
                Some((_, e)) => dl {
                    dt { "Traffic" } dd { "to 0 % at once" }
                    dt { "Back to" } dd { (e.previous_version.to_string()) " " (digest(&e.previous_image)) }
                    dt { "Migration" } dd { (e.down_migration) }
                    dt { "Flags off" } dd { @if e.flags_off.is_empty() { "none" } @else { (e.flags_off.join(", ")) } }
                    dt { "In order" } dd { (e.acts.join(", ")) }
                    dt { "Target" } dd { "recovered within " (say::duration(i64::from(e.rto_s) * 1000)) }
                },
                None => p.none { "No rollback envelope is signed yet. Without it this release never gets 100 %." },
            }
            @if !acts.is_empty() {
                h3 { "Carried out" }
                ol.acts {
                    @for (index, a) in &acts {
                        li {
                            a.door href={ "/receipts/" (index) } { b { (a.act) } } " " (a.result) " "
                            span.mute { (say::duration(a.took_ms)) }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_elsewhere_is_text_and_no_markup() {
        let mut view = crate::gallery::sample_view();
        let (index, envelope) = view.envelope.as_mut().unwrap();
        let index = *index;
        envelope.down_migration = "<script>alert(1)</script>".to_owned();
        let html = markup(&view);
        assert!(html.contains("<dd>&lt;script&gt;alert(1)&lt;/script&gt;</dd>"), "{html}");
        assert!(html.contains(&format!(r#"<a class="door" href="/receipts/{index}">armed, receipt "#)), "{html}");
        view.envelope = None;
        assert!(markup(&view).contains("<span>not armed</span>"));
    }
}
