// Verifies a bundle of a managed key with Sigstore's own JavaScript library, as a second opinion on what we sign.
// node sigstore-verify.mjs BUNDLE TRUSTED_ROOT PUBLIC_KEY [FILE]
import { readFileSync } from "node:fs";
import { createHash, createPublicKey } from "node:crypto";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { Verifier, toSignedEntity, toTrustMaterial } from "@sigstore/verify";

const [bundlePath, rootPath, keyPath, filePath] = process.argv.slice(2);
const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const spki = createPublicKey(readFileSync(keyPath, "utf8")).export({ type: "spki", format: "der" });
const hint = createHash("sha256").update(spki).digest("base64");

const bundle = bundleFromJSON(json(bundlePath));
const trust = toTrustMaterial(TrustedRoot.fromJSON(json(rootPath)), { [hint]: { rawBytes: spki } });
// A key has no certificate, and Rekor v2 signs no time.
const verifier = new Verifier(trust, { ctlogThreshold: 0, timestampThreshold: 0, tlogThreshold: 1 });
verifier.verify(toSignedEntity(bundle, filePath && readFileSync(filePath)));
const envelope = bundle.content.dsseEnvelope;
console.log(envelope ? envelope.payload.toString("utf8") : "signature");
