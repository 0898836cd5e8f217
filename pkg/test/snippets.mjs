// TypeScript in Markdown, compiled as a user's files would be.
import ts from 'typescript';

const OPTIONS = {
  strict: true,
  exactOptionalPropertyTypes: true,
  target: ts.ScriptTarget.ESNext,
  lib: ['lib.esnext.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
  noEmit: true,
  skipLibCheck: true,
};

/** What the compiler has to say of a document's `ts` blocks, each a module of its own; `before` is put before each. */
export function problems(name, markdown, before = '') {
  const files = new Map();
  for (const [n, [, code]] of [...markdown.matchAll(/```ts\n([\s\S]*?)```/g)].entries()) {
    files.set(new URL(`${name}-${n + 1}.ts`, import.meta.url).pathname, `${before}${code}\nexport {};\n`);
  }
  const host = ts.createCompilerHost(OPTIONS);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => (files.has(path) ? ts.createSourceFile(path, files.get(path), ts.ScriptTarget.ESNext) : getSourceFile(path, ...rest));
  const said = ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], OPTIONS, host));
  return { count: files.size, problems: said.map(({ file, messageText }) => `${file?.fileName.split('/').at(-1)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`) };
}
