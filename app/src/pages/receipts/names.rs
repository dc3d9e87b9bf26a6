//! What facts are called on a page: in words where a receipt has the name that the program uses. The raw JSON keeps that.

/// A fact's name, and what it is in words. Those that are not here read well as they are.
const NAMES: [(&str, &str); 35] = [
    ("abs", "5xx above its limit"),
    ("alpha", "chance that a healthy canary is stopped"),
    ("alpha_good", "chance that a certificate is wrong"),
    ("certify_from", "ticks before a certificate"),
    ("crossed_at", "tick at which the evidence sufficed"),
    ("delta", "5xx allowed above stable's, share"),
    ("delta_good", "margin of a certificate, share above stable's"),
    ("down", "ratios below 1"),
    ("error_difference", "5xx more than stable's, from and to"),
    ("exposed", "canary requests"),
    ("first_harm_at", "first request that harmed"),
    ("first_start", "weight of the first start"),
    ("further_starts", "starts after it"),
    ("grids", "alternatives that are bet on"),
    ("hard_stop", "failures in a row that stop it at once"),
    ("highest_ln_e", "highest evidence so far, ln"),
    ("history_s", "stable's past, seconds"),
    ("joint", "all measures together"),
    ("l", "stakes of p99"),
    ("least_us", "least increase of latency that counts, µs"),
    ("ln_e", "evidence that it is worse, ln"),
    ("n", "requests"),
    ("p0", "5xx allowed, share"),
    ("p99_ratio", "p99 over stable's, from and to"),
    ("p_down", "shares of 5xx below the limit"),
    ("p_up", "shares of 5xx above the limit"),
    ("rel", "5xx above stable's"),
    ("said", "the judge said"),
    ("slo", "service level objective"),
    ("split_ln_e", "evidence that traffic is not split as planned, ln"),
    ("start_every", "ticks between starts"),
    ("tolerance", "p99 allowed above stable's, share"),
    ("up", "ratios above 1"),
    ("warm_up_s", "warm-up, seconds"),
    ("within_sigma", "within one standard deviation"),
];

/// The name of a fact as it is read.
pub(super) fn said(name: &str) -> String {
    let known = NAMES.binary_search_by_key(&name, |(known, _)| known).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| name.replace('_', " "), |(_, words)| (*words).to_owned())
}

/// What a verdict of the judge is in words, with its own.
pub(super) fn verdict(value: &str) -> Option<&'static str> {
    Some(match value {
        "regressed" => "it is worse than stable (regressed)",
        "certified" => "it is certified for this step (certified)",
        "unrefuted" => "it is not stopped (unrefuted)",
        "inconclusive" => "nothing can be said (inconclusive)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_order_so_that_each_is_found() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| name));
        for (name, words) in NAMES {
            assert_eq!(said(name), words);
        }
        assert_eq!(said("previous_version"), "previous version");
    }
}
