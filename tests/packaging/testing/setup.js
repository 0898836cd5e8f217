import init from 'tautline/inline';

await init();
