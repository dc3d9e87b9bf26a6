//! What the library leaves to its caller.

use jiff::Timestamp;
use sigstore_verify::types::{
    Bundle, KindVersion, MediaType, TransparencyLogEntry, bundle::VerificationMaterialContent,
};

use super::{limits, media_type, trust::TrustRoot};
use crate::{Policy, Refused};

/// Form, sizes and counts.
pub(super) fn form(bundle: &Bundle, policy: &Policy) -> Result<(), Refused> {
    let form = media_type(bundle);
    if form != MediaType::Bundle0_3 && !policy.old_forms {
        return Err(Refused::OldForm(form.as_str().to_owned()));
    }
    let material = &bundle.verification_material;
    let certificates = match &material.content {
        VerificationMaterialContent::X509CertificateChain { certificates } => certificates.len(),
        _ => 1,
    };
    at_most("certificates", certificates, limits::MAX_CERTIFICATES)?;
    at_most("log entries", material.tlog_entries.len(), limits::MAX_LOG_ENTRIES)?;
    at_most("timestamps", material.timestamp_verification_data.rfc3161_timestamps.len(), limits::MAX_TIMESTAMPS)?;
    if material.tlog_entries.is_empty() && !policy.unlogged {
        return Err(Refused::NoLogEntry);
    }
    Ok(())
}

/// Every entry proved, in a log of the trust root, by a checkpoint of that log.
pub(super) fn logs(bundle: &Bundle, trust: &TrustRoot) -> Result<(), Refused> {
    for (number, entry) in bundle.verification_material.tlog_entries.iter().enumerate() {
        let id = entry.log_id.key_id.as_bytes();
        if trust.log(id).is_none() {
            return Err(Refused::UnknownLog { entry: number, log: entry.log_id.key_id.to_base64() });
        }
        let Some(checkpoint) = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()) else {
            // In v0.1 the log's signed promise stands for the proof.
            if media_type(bundle) == MediaType::Bundle0_1
                && entry.inclusion_promise.is_some()
                && entry.inclusion_proof.is_none()
            {
                continue;
            }
            return Err(Refused::NoProof(number));
        };
        at_most("signatures on a checkpoint", checkpoint.signatures().len(), limits::MAX_COSIGNATURES)?;
        // Which of them holds, the library checks; that one is the named log's own is what is asked here.
        if !id.get(..4).is_some_and(|own| checkpoint.signatures().iter().any(|by| by.key_id.as_slice() == own)) {
            return Err(Refused::OtherLog(number));
        }
    }
    Ok(())
}

/// Each log's key was in force when its entry was made, where a time is proved: the log's own promise, else a timestamp.
pub(super) fn log_windows(bundle: &Bundle, trust: &TrustRoot, times: &[Timestamp]) -> Result<(), Refused> {
    for (number, entry) in bundle.verification_material.tlog_entries.iter().enumerate() {
        let Some(window) = trust.log(entry.log_id.key_id.as_bytes()).and_then(|log| log.public_key.valid_for) else {
            continue;
        };
        let own;
        let times = match promised(entry) {
            Some(time) => {
                own = [time];
                &own[..]
            }
            None => times,
        };
        if let Some(outside) = times.iter().find(|time| !window.contains(**time)) {
            return Err(Refused::LogKeyWindow { entry: number, time: outside.to_string() });
        }
    }
    Ok(())
}

/// The time that a log of the first generation signed. The second generation signs none.
pub(super) fn promised(entry: &TransparencyLogEntry) -> Option<Timestamp> {
    let signed = entry.inclusion_promise.is_some() && entry.kind_version != KindVersion::HashedRekordV002;
    if signed { entry.integrated_time } else { None }
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), Refused> {
    if found > max { Err(Refused::TooMany { what, found, max }) } else { Ok(()) }
}
