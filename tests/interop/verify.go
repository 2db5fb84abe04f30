// Verifies a published log with golang.org/x/mod/sumdb, the packages note and tlog, which are those
// of Go's checksum database.
//
//	verify LOG POLICY FILE...     a FILE is a .tlog-proof, or an older checkpoint
//
//	note   the Ed25519 signature of every checkpoint; signatures of unknown types are ignored
//	tlog   the root hash that the entries alone lead to (RecordHash, TreeHash); every hash tile
//	       (ReadTileData); each proof's entry under the root of the proof's own checkpoint
//	       (CheckRecord), and that the log leads to the same proof (ProveRecord); that the log
//	       continues each older checkpoint (CheckTree)
//
// The hash tiles are compared with the entries, since TileHashReader, which makes the proofs here,
// leaves some tiles unverified before x/mod 0.40 (CVE-2026-56865): Debian 12 has 0.7.
//
// Ours is only what holds them together: reading POLICY, bundles and .tlog-proof, and the paths,
// which have one more element in Go: tile/8/0 is our tile/0, and tile/8/data our tile/entries. Exit
// status: 0 accepted, 1 rejected.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height, width = 8, 256

// published is the folder of a log, as tlog reads it.
type published string

func (log published) Height() int                     { return height }
func (log published) SaveTiles([]tlog.Tile, [][]byte) {}

func (log published) path(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return filepath.Join(string(log), strings.Replace(path, "tile/data/", "tile/entries/", 1))
}

// read reads a tile, or the full one that has taken its place.
func (log published) read(tile tlog.Tile) ([]byte, tlog.Tile, error) {
	data, err := os.ReadFile(log.path(tile))
	if os.IsNotExist(err) && tile.W < width {
		tile.W = width
		data, err = os.ReadFile(log.path(tile))
	}
	return data, tile, err
}

func (log published) hashes(tile tlog.Tile) ([]byte, error) {
	data, found, err := log.read(tile)
	if err == nil && len(data) != found.W*tlog.HashSize {
		err = fmt.Errorf("%s: %d bytes", log.path(found), len(data))
	}
	if err != nil {
		return nil, err
	}
	return data[:tile.W*tlog.HashSize], nil
}

func (log published) records(tile tlog.Tile) (records [][]byte, err error) {
	data, found, err := log.read(tile)
	for err == nil && len(data) > 0 {
		size := 2
		if len(data) >= size {
			size += int(binary.BigEndian.Uint16(data))
		}
		if len(data) < size {
			return nil, fmt.Errorf("%s: ends inside of an entry", log.path(found))
		}
		records, data = append(records, data[2:size]), data[size:]
	}
	if err == nil && len(records) != found.W {
		err = fmt.Errorf("%s: %d entries", log.path(found), len(records))
	}
	if err != nil {
		return nil, err
	}
	return records[:tile.W], nil
}

func (log published) ReadTiles(tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		data, err := log.hashes(tile)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// tiles are those of a tile level of a tree, or its bundles.
func tiles(size int64, level int) (all []tlog.Tile) {
	count := size
	if level > 0 {
		count >>= uint(height * level)
	}
	for n := int64(0); n*width < count; n++ {
		tile := tlog.Tile{H: height, L: level, N: n, W: width}
		if rest := count - n*width; rest < width {
			tile.W = int(rest)
		}
		all = append(all, tile)
	}
	return all
}

// readKey reads the key of a policy that note can verify with.
func readKey(path string) (note.Verifier, error) {
	policy, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(policy), "\n") {
		if vkey := strings.TrimPrefix(line, "log "); vkey != line {
			if key, err := note.NewVerifier(vkey); err == nil {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: no key that note can verify with", path)
}

// openTree verifies a checkpoint. ParseTree reads the text of one except for its first line, where
// every Go checksum database has the same origin.
func openTree(message []byte, key note.Verifier) (tree tlog.Tree, err error) {
	opened, err := note.Open(message, note.VerifierList(key))
	if err != nil {
		return tree, err
	}
	rest := strings.TrimPrefix(opened.Text, key.Name()+"\n")
	if rest == opened.Text {
		return tree, fmt.Errorf("the checkpoint is not of %s", key.Name())
	}
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

// checkEntries compares the root and the hash tiles with those that the entries alone lead to.
func checkEntries(log published, tree tlog.Tree) error {
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, err error) {
		for _, index := range indexes {
			found = append(found, hashes[index])
		}
		return found, nil
	})
	n := int64(0)
	for _, bundle := range tiles(tree.N, -1) {
		records, err := log.records(bundle)
		if err != nil {
			return err
		}
		for _, record := range records {
			more, err := tlog.StoredHashesForRecordHash(n, tlog.RecordHash(record), reader)
			if err != nil {
				return err
			}
			hashes = append(hashes, more...)
			n++
		}
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries lead to the root %v, and signed is %v", root, tree.Hash)
	}
	for level := 0; tree.N>>uint(height*level) > 0; level++ {
		for _, tile := range tiles(tree.N, level) {
			data, err := log.hashes(tile)
			if err != nil {
				return err
			}
			want, err := tlog.ReadTileData(tile, reader)
			if err != nil {
				return err
			}
			if !bytes.Equal(data, want) {
				return fmt.Errorf("%s: not what the entries lead to", log.path(tile))
			}
		}
	}
	return nil
}

// checkProof checks a .tlog-proof, and that tlog makes the same one of the log.
func checkProof(path string, key note.Verifier, proven tlog.HashReader) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parts := strings.SplitN(string(text), "\n\n", 2)
	lines := strings.Split(parts[0], "\n")
	if len(parts) != 2 || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("%s: not a proof", path)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	proof := tlog.RecordProof{}
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := openTree([]byte(parts[1]), key)
	if err != nil {
		return err
	}
	record := tlog.RecordHash(entry)
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, record); err != nil {
		return fmt.Errorf("%s: %v", path, err)
	}
	made, err := tlog.ProveRecord(tree.N, index, proven)
	if err == nil && !reflect.DeepEqual(made, proof) {
		err = fmt.Errorf("%s: another proof than tlog makes of the log", path)
	}
	return err
}

// checkOlder checks that a tree continues that of an older checkpoint.
func checkOlder(path string, key note.Verifier, tree tlog.Tree, proven tlog.HashReader) error {
	message, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, err := openTree(message, key)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, old.N, proven)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("the log does not continue %s: %v", path, err)
	}
	return nil
}

func verify(log published, policy string, files []string) (string, error) {
	key, err := readKey(policy)
	if err != nil {
		return "", err
	}
	checkpoint, err := os.ReadFile(filepath.Join(string(log), "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := openTree(checkpoint, key)
	if err != nil {
		return "", err
	}
	if err := checkEntries(log, tree); err != nil {
		return "", err
	}
	proven := tlog.TileHashReader(tree, log)
	proofs := 0
	for _, path := range files {
		if filepath.Ext(path) == ".tlog-proof" {
			err = checkProof(path, key, proven)
			proofs++
		} else {
			err = checkOlder(path, key, tree, proven)
		}
		if err != nil {
			return "", err
		}
	}
	const accepted = "%d entries, %d proofs, %d older checkpoints"
	return fmt.Sprintf(accepted, tree.N, proofs, len(files)-proofs), nil
}

func main() {
	accepted, err := verify(published(os.Args[1]), os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Println("rejected:", err)
		os.Exit(1)
	}
	fmt.Println("accepted:", accepted)
}
