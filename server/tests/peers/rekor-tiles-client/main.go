// Writes to a log of signatures, and verifies what it answers, with the client packages of Rekor v2 (rekor-tiles).
//
//	rekor-tiles-client add URL TRUSTED_ROOT FILE    signs FILE with a new P-256 key, submits that, verifies the answer, prints it
//	rekor-tiles-client verify TRUSTED_ROOT ENTRY    verifies an entry that is in a file
//	rekor-tiles-client read URL TRUSTED_ROOT        reads the whole log by its tiles, and proves every entry of it
//
// REKOR_TOKEN is sent as a bearer token. Rekor knows none and its client has no option for one, so the transport below it adds it.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	trustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/read"
	"github.com/sigstore/rekor-tiles/v2/pkg/client/write"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/rekor-tiles/v2/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	if token := os.Getenv("REKOR_TOKEN"); token != "" {
		http.DefaultTransport = bearer{token, http.DefaultTransport}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := errors.New("add URL TRUSTED_ROOT FILE, verify TRUSTED_ROOT ENTRY, or read URL TRUSTED_ROOT")
	switch args := os.Args[1:]; {
	case len(args) == 4 && args[0] == "add":
		err = add(ctx, args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "verify":
		err = verifyFile(args[1], args[2])
	case len(args) == 3 && args[0] == "read":
		err = readAll(ctx, args[1], args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type bearer struct {
	token string
	inner http.RoundTripper
}

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+b.token)
	return b.inner.RoundTrip(request)
}

// A log, as a trusted root names it: the host of its address is its origin, as sigstore-go takes it.
type log struct {
	origin   string
	id       []byte
	key      signature.Verifier
	verifier note.Verifier
}

func loadLog(path string) (*log, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var root trustroot.TrustedRoot
	if err := protojson.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	if len(root.GetTlogs()) != 1 {
		return nil, fmt.Errorf("trusted root: %d logs", len(root.GetTlogs()))
	}
	instance := root.GetTlogs()[0]
	address, err := url.Parse(instance.GetBaseUrl())
	if err != nil {
		return nil, err
	}
	public, err := x509.ParsePKIXPublicKey(instance.GetPublicKey().GetRawBytes())
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	_, id, err := rekornote.KeyHash(address.Host, public)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(id, instance.GetLogId().GetKeyId()) {
		return nil, errors.New("the trusted root gives the log another id than follows from its name and key")
	}
	key, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	verifier, err := rekornote.NewNoteVerifier(address.Host, key)
	if err != nil {
		return nil, err
	}
	return &log{address.Host, id, key, verifier}, nil
}

// Everything that an answer says, and its body against one made anew from what was signed.
func (l *log) verify(entry *rekor.TransparencyLogEntry) error {
	if !bytes.Equal(entry.GetLogId().GetKeyId(), l.id) {
		return errors.New("an entry of another log")
	}
	var body pb.Entry
	if err := protojson.Unmarshal(entry.GetCanonicalizedBody(), &body); err != nil {
		return fmt.Errorf("the entry's body: %w", err)
	}
	if body.GetKind() != entry.GetKindVersion().GetKind() || body.GetApiVersion() != entry.GetKindVersion().GetVersion() {
		return errors.New("the entry's body is of another kind than the answer says")
	}
	spec := body.GetSpec().GetHashedRekordV002()
	hash, err := hashedrekord.ToEntryHash(spec.GetData().GetDigest(), spec.GetSignature())
	if err != nil {
		return fmt.Errorf("the entry made anew: %w", err)
	}
	if err := verify.VerifyLogEntryWithHash(entry, l.verifier, hash); err != nil {
		return fmt.Errorf("the entry made anew: %w", err)
	}
	if err := verify.VerifyLogEntry(entry, l.verifier); err != nil {
		return err
	}
	checkpoint, err := verify.VerifyCheckpoint(entry.GetInclusionProof().GetCheckpoint().GetEnvelope(), l.verifier)
	if err != nil {
		return err
	}
	said := entry.GetInclusionProof()
	if uint64(said.GetTreeSize()) != checkpoint.Size || !bytes.Equal(said.GetRootHash(), checkpoint.Hash) || said.GetLogIndex() != entry.GetLogIndex() {
		return errors.New("the proof is of another tree than its checkpoint")
	}
	return nil
}

func add(ctx context.Context, address, root, file string) error {
	l, err := loadLog(root)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	digest := sha256.Sum256(text)
	signed, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	own := &pb.Signature{
		Content: signed,
		Verifier: &pb.Verifier{
			Verifier:   &pb.Verifier_PublicKey{PublicKey: &pb.PublicKey{RawBytes: public}},
			KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		},
	}
	writer, err := write.NewWriter(address)
	if err != nil {
		return err
	}
	entry, err := writer.Add(ctx, &pb.HashedRekordRequestV002{Digest: digest[:], Signature: own})
	if err != nil {
		return err
	}
	if err := l.verify(entry); err != nil {
		return err
	}
	// And it is about what was asked for.
	hash, err := hashedrekord.ToEntryHash(digest[:], own)
	if err != nil {
		return err
	}
	if err := verify.VerifyLogEntryWithHash(entry, l.verifier, hash); err != nil {
		return fmt.Errorf("something else was logged: %w", err)
	}
	answer, err := protojson.Marshal(entry)
	if err != nil {
		return err
	}
	fmt.Println(string(answer))
	return nil
}

func verifyFile(root, file string) error {
	l, err := loadLog(root)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var entry rekor.TransparencyLogEntry
	if err := protojson.Unmarshal(text, &entry); err != nil {
		return err
	}
	if err := l.verify(&entry); err != nil {
		return err
	}
	fmt.Println("verified", entry.GetLogIndex())
	return nil
}

// As a monitor does: a checkpoint, the entries below it, and for each its proof out of the tiles; then every earlier size of the tree.
func readAll(ctx context.Context, address, root string) error {
	l, err := loadLog(root)
	if err != nil {
		return err
	}
	reader, err := read.NewReader(address, l.origin, l.key)
	if err != nil {
		return err
	}
	checkpoint, signed, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	proofs, err := client.NewProofBuilder(ctx, checkpoint.Size, reader.ReadTile)
	if err != nil {
		return err
	}
	var raw []byte
	for _, signature := range signed.Sigs {
		raw = fmt.Appendf(raw, "\u2014 %s %s\n", signature.Name, signature.Base64)
	}
	whole := signed.Text + "\n" + string(raw)
	next := uint64(0)
	for bundle := uint64(0); next < checkpoint.Size; bundle++ {
		entries, err := client.GetEntryBundle(ctx, reader.ReadEntryBundle, bundle, checkpoint.Size)
		if err != nil {
			return err
		}
		if len(entries.Entries) == 0 || len(entries.Entries) > layout.EntryBundleWidth {
			return fmt.Errorf("bundle %d has %d entries", bundle, len(entries.Entries))
		}
		for _, body := range entries.Entries {
			hashes, err := proofs.InclusionProof(ctx, next)
			if err != nil {
				return err
			}
			entry := &rekor.TransparencyLogEntry{
				LogIndex:          int64(next),
				CanonicalizedBody: body,
				InclusionProof: &rekor.InclusionProof{
					LogIndex:   int64(next),
					TreeSize:   int64(checkpoint.Size),
					RootHash:   checkpoint.Hash,
					Hashes:     hashes,
					Checkpoint: &rekor.Checkpoint{Envelope: whole},
				},
			}
			if err := verify.VerifyLogEntry(entry, l.verifier); err != nil {
				return fmt.Errorf("entry %d: %w", next, err)
			}
			next++
		}
	}
	for size := uint64(1); size < checkpoint.Size; size++ {
		leaves, err := client.FetchLeafHashes(ctx, reader.ReadTile, 0, size, checkpoint.Size)
		if err != nil {
			return err
		}
		hashes, err := proofs.ConsistencyProof(ctx, size, checkpoint.Size)
		if err != nil {
			return err
		}
		if err := verify.VerifyConsistencyProof(hashes, size, rootOf(leaves), whole, l.verifier); err != nil {
			return fmt.Errorf("from %d entries: %w", size, err)
		}
	}
	fmt.Println("read and proved", next)
	return nil
}

// The root over leaves (RFC 6962, 2.1).
func rootOf(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	return rfc6962.DefaultHasher.HashChildren(rootOf(leaves[:split]), rootOf(leaves[split:]))
}
