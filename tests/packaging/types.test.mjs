// The types of the tarball: they compile for whoever is strict, in every way that a project may be set, from TypeScript 4.9 on;
// and each public name says what it is.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { newProject } from './kit.mjs';

const ALL = ['use', 'using', 'vue'];
let project;
before(async () => {
  project = await newProject({});
  for (const name of ALL) await project.write(`src/${name}.ts`, readFileSync(new URL(`types/${name}.ts`, import.meta.url), 'utf8'));
});
after(() => project?.remove());

const exported = () => JSON.parse(readFileSync(project.at('node_modules/tautline/package.json'), 'utf8')).exports;

test('what is compiled below uses each entry', () => {
  const used = ALL.map((name) => readFileSync(project.at(`src/${name}.ts`), 'utf8')).join('\n');
  const entries = Object.entries(exported()).filter(([, { types }]) => types).map(([name]) => name.replace('.', 'tautline'));
  assert.ok(entries.includes('tautline/react'));
  assert.deepEqual(entries.filter((name) => !used.includes(`from '${name}'`)), []);
});

const NODE16 = { module: 'node16', moduleResolution: 'node16' };
const BUNDLER = { module: 'esnext', moduleResolution: 'bundler' };
// `bundler` is of 5.0, `using` of 5.2, what Vue declares of 5.4; whose library has it is not to mind that ours says it too.
for (const [version, of, how, lib, files] of [
  ['4.9', 'typescript-4.9', NODE16, 'es2022', ['use']],
  ['5.9', 'typescript', NODE16, 'es2022', ALL],
  ['5.9', 'typescript', BUNDLER, 'esnext', ALL],
  ['7.0', 'typescript-newest', NODE16, 'esnext', ALL],
  ['7.0', 'typescript-newest', BUNDLER, 'es2022', ALL],
]) {
  test(`TypeScript ${version}, ${how.moduleResolution}, ${lib}`, async () => {
    const compilerOptions = { ...how, target: 'es2022', lib: [lib, 'dom', 'dom.iterable'], types: [], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true };
    await project.write('tsconfig.json', JSON.stringify({ compilerOptions, files: files.map((name) => `src/${name}.ts`) }));
    assert.match(await project.sh(`node node_modules/${of}/bin/tsc --version`), new RegExp(`^Version ${version}\\.`));
    await project.sh(`node node_modules/${of}/bin/tsc -p .`).catch(({ stdout }) => assert.fail(stdout));
  });
}

test('each public name, and each member of one, has its comment; and none is `any`', async () => {
  const { default: ts } = await import(createRequire(project.at('package.json')).resolve('typescript'));
  const entries = Object.values(exported()).flatMap(({ types }) => types ?? []).map((path) => project.at(`node_modules/tautline/${path}`));
  const program = ts.createProgram(entries, { target: ts.ScriptTarget.ES2022, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], moduleResolution: ts.ModuleResolutionKind.Bundler, module: ts.ModuleKind.ESNext, types: [], strict: true });
  const checker = program.getTypeChecker();
  const [bare, anys] = [new Set(), new Set()];
  let names = 0;
  const isPublic = ({ name, modifiers }) => name && !ts.isPrivateIdentifier(name) && !modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword);
  const told = (node) => ts.getJSDocCommentsAndTags(node).length > 0;

  function members(node, of) {
    for (const member of node.members.filter(isPublic)) {
      names += 1;
      // An overload may be told by the first of its name.
      const group = node.members.filter((other) => other.name?.getText() === member.name.getText());
      if (!group.some(told)) bare.add(`${of}.${member.name.getText()}`);
    }
  }
  function walk(node, of) {
    if (node.kind === ts.SyntaxKind.AnyKeyword) anys.add(of);
    ts.forEachChild(node, (child) => walk(child, of));
  }
  for (const entry of entries) {
    for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)))) {
      const meant = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      names += 1;
      if (meant.getDocumentationComment(checker).length === 0) bare.add(symbol.name);
      for (const declaration of meant.declarations) {
        if (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)) members(declaration, symbol.name);
        walk(declaration, symbol.name);
      }
    }
  }
  assert.ok(names > 300, `${names}`);
  assert.deepEqual({ bare: [...bare].sort(), anys: [...anys] }, { bare: [], anys: [] });
});
