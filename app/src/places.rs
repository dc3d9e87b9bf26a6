//! Where one can go: pages with the key that leads there, for the palette, the search and the list of keys.

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
    let text = text.trim().to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let begins = |place: &Place, word: &str| {
        let name = place.name.to_lowercase();
        name.split(' ').chain(place.words.split(' ')).any(|known| known.starts_with(word))
    };
    PLACES.into_iter().filter(|place| words.iter().all(|word| begins(place, word))).collect()
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
    fn every_key_leads_to_one_place() {
        let mut keys = PLACES.map(|place| place.key);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
