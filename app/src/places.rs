//! Where one can go: pages with the key that leads there, for the palette, the search and the list of keys. And what commands are called.

use model::CommandKind;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// Its address.
    pub href: &'static str,
    /// The key after `g`.
    pub key: &'static str,
    /// Other words that people look for it by.
    pub words: &'static str,
}

/// All of them, in the order of the header.
pub const PLACES: [Place; 5] = [
    Place { name: "Overview", href: "/", key: "o", words: "home start waiting in flight" },
    Place { name: "Releases", href: "/releases", key: "r", words: "rollouts canaries versions" },
    Place { name: "Receipts", href: "/receipts", key: "l", words: "log ledger audit verify" },
    Place {
        name: "Delivery metrics",
        href: "/dora/deployments",
        key: "d",
        words: "dora deployments lead time change failure restore rework",
    },
    Place { name: "Settings", href: "/settings", key: "s", words: "keys sessions tokens log health" },
];

/// Keys that work on every page, and what they do.
pub const KEYS: [(&str, &str); 5] = [
    ("/", "search"),
    ("Ctrl K", "search, also ⌘ K"),
    ("?", "these keys"),
    ("a", "abort, on a release's page"),
    ("Esc", "leave a dialog"),
];

/// Pages that these words lead to.
pub fn matching(text: &str) -> Vec<Place> {
    PLACES.into_iter().filter(|place| fits(text, place.name, place.words)).collect()
}

/// Whether these words lead to a command of this name, or to what else people call it.
pub fn means(text: &str, kind: CommandKind, name: &str) -> bool {
    let words = match kind {
        CommandKind::Promote => "next continue step",
        CommandKind::PromoteFull => "skip all",
        CommandKind::Pause => "hold wait",
        CommandKind::Resume => "continue unpause",
        CommandKind::Abort => "stop cancel kill",
        CommandKind::Retry => "again restart",
        CommandKind::Rollback => "rollback revert undo",
    };
    fits(text, name, words)
}

/// Whether each word begins one of the name or of the others that it goes by.
fn fits(text: &str, name: &str, words: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    text.split_whitespace().all(|word| name.split(' ').chain(words.split(' ')).any(|known| known.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_their_words() {
        let names = |text| matching(text).iter().map(|place| place.name).collect::<Vec<_>>();
        assert_eq!(names(""), PLACES.map(|place| place.name));
        assert_eq!(names("REL"), ["Releases"]);
        assert_eq!(names("lead time"), ["Delivery metrics"]);
        assert_eq!(names("audit"), ["Receipts"]);
        assert_eq!(names("checkout"), [""; 0]);
    }

    #[test]
    fn commands_are_found_by_what_people_call_them() {
        for (text, kind, name, found) in [
            ("abo", CommandKind::Abort, "Abort", true),
            ("stop", CommandKind::Abort, "Abort", true),
            ("promote", CommandKind::PromoteFull, "Promote full", true),
            ("promote full", CommandKind::Promote, "Promote", false),
            ("pause", CommandKind::Resume, "Resume", false),
            ("checkout", CommandKind::Abort, "Abort", false),
        ] {
            assert_eq!(means(text, kind, name), found, "{text}");
        }
    }

    #[test]
    fn every_key_leads_to_one_place() {
        let mut keys = PLACES.map(|place| place.key);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
