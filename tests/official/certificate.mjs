// A certificate for this machine's loopback address, for as long as a run of the tests lasts.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, output } from '../../scripts/lib/run.mjs';

/** Its own authority: whoever is to believe it is given it as one. */
export async function makeCertificate() {
  const folder = mkdtempSync(join(tmpdir(), 'tautline-certificate-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const [certificate, key] = ['certificate.pem', 'key.pem'].map((name) => join(folder, name));
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const who = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '1'];
  const made = await output(process.env.TAUTLINE_OPENSSL, ['req', '-x509', ...kind, ...who, '-keyout', key, '-out', certificate]);
  if (made === undefined) {
    remove();
    throw new Failure('openssl makes no certificate.');
  }
  return { certificate, key, remove };
}
