// Verifies a log's checkpoint and proofs with @sigstore/verify, which npm checks its packages with.
//
//   NODE_PATH=<node_modules> node verify.mjs LOG POLICY PROOF...
//
// dist/tlog/checkpoint.js   the Ed25519 signature of the log's checkpoint and of every proof's own;
//                           signatures of unknown keys are ignored
// dist/tlog/merkle.js       each proof's entry under the root of the proof's own checkpoint
//
// It knows neither tiles nor consistency. Ours is only what holds it together: reading POLICY and
// .tlog-proof. Exit status: 0 accepted, 1 rejected.

import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { verifyCheckpoint } = require('@sigstore/verify/dist/tlog/checkpoint.js');
const { verifyMerkleInclusion } = require('@sigstore/verify/dist/tlog/merkle.js');
const { VerificationError } = require('@sigstore/verify/dist/error.js');

function readLog(policy) {
  const vkeys = [...policy.matchAll(/^log ([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/gm)];
  for (const [, baseURL, id, key] of vkeys) {
    const [type, ...bytes] = Buffer.from(key, 'base64');
    if (type === 1) {
      const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(bytes).toString('base64url') };
      const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
      return { baseURL, logID: Buffer.from(id, 'hex'), publicKey };
    }
  }
  throw new VerificationError({ message: 'no Ed25519 key in the policy' });
}

function verifySigned(envelope, log) {
  const checkpoint = verifyCheckpoint({ inclusionProof: { checkpoint: { envelope } } }, [log]);
  if (checkpoint.origin !== log.baseURL) {
    throw new VerificationError({ message: `the checkpoint is not of ${log.baseURL}` });
  }
  return checkpoint;
}

function verifyProof(text, log) {
  const [proof, ...rest] = text.split('\n\n');
  const [first, extra, index, ...hashes] = proof.split('\n');
  if (first !== 'c2sp.org/tlog-proof@v1') {
    throw new VerificationError({ message: 'not a proof' });
  }
  const checkpoint = verifySigned(rest.join('\n\n'), log);
  const entry = {
    canonicalizedBody: Buffer.from(extra.replace(/^extra /, ''), 'base64'),
    inclusionProof: {
      logIndex: index.replace(/^index /, ''),
      hashes: hashes.map((line) => Buffer.from(line, 'base64')),
    },
  };
  verifyMerkleInclusion(entry, checkpoint);
}

const [folder, policy, ...proofs] = process.argv.slice(2);
try {
  const log = readLog(readFileSync(policy, 'utf8'));
  const { logSize } = verifySigned(readFileSync(`${folder}/checkpoint`, 'utf8'), log);
  proofs.forEach((path) => verifyProof(readFileSync(path, 'utf8'), log));
  console.log(`accepted: a checkpoint of ${logSize} entries, ${proofs.length} proofs`);
} catch (error) {
  if (!(error instanceof VerificationError)) throw error;
  console.log(`rejected: ${error.message}`);
  process.exit(1);
}
