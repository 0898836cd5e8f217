export default { testEnvironment: 'jsdom', transform: {}, setupFiles: ['./jest-globals.js', './setup.js'] };
