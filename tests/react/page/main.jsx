// A page of each kind of use, under StrictMode; what it went through is counted at `window.seen`.
import * as React from 'react';
import { Component, lazy, Profiler, StrictMode, Suspense, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createTautline, resources } from 'tautline';
import { TautlineProvider, useOrder, useOrders, useOrderUpdates, useTautline, useVoice, useWebSocketConnection } from 'tautline/react';
import { Heading } from './Heading.jsx';
import { Ticket } from './Ticket.jsx';

const asked = new URLSearchParams(location.search);
const seen = (window.seen ??= { made: 0, commits: 0, renders: {}, updates: [], connects: 0, said: [] });

const make = async () => {
  seen.made += 1;
  if (asked.get('broken') === String(seen.made)) throw new Error('no client today');
  return createTautline({ url: asked.get('url'), restaurantId: asked.get('restaurant'), getToken: () => asked.get('token') });
};

function Display() {
  const [count, setCount] = useState(0);
  const said = `render ${count}`;
  const { state } = useWebSocketConnection({ onConnect: () => (seen.connects += 1) });
  const orders = useOrders();
  useOrderUpdates((update) => {
    seen.updates.push(update.action);
    seen.said.push(said);
  });
  window.page = { again: () => setCount((before) => before + 1), client: useTautline() };
  return (
    <main>
      <Heading count={count} />
      <p id="state">{state}</p>
      <ul>{orders.map((order) => <Ticket key={order.id} order={order} />)}</ul>
      <p id="ready">{useOrders({ statuses: ['ready'] }).map((order) => order.id).join(' ')}</p>
      <One id={asked.get('one')} />
    </main>
  );
}

function One({ id }) {
  return <p id="one">{useOrder(id)?.status ?? 'none'}</p>;
}

function Toggled() {
  const [shown, setShown] = useState(true);
  window.show = setShown;
  return shown && <Display />;
}

let wake;
window.wake = () => wake();
const Late = lazy(() => new Promise((resolve) => (wake = () => resolve({ default: () => <i id="late">late</i> }))));

function Call() {
  const { call, state } = useVoice({ relay: location.origin, getToken: () => null, microphone: false });
  window.call = call;
  return <p id="call">{state}</p>;
}

class Boundary extends Component {
  state = { error: undefined };
  static getDerivedStateFromError = (error) => ({ error });
  render() {
    const { error } = this.state;
    return error ? <button onClick={() => this.setState({ error: undefined })}>{error.message}</button> : this.props.children;
  }
}

const KINDS = {
  display: <Display />,
  suspended: <Suspense fallback={<i id="waiting" />}><Display /><Late /></Suspense>,
  toggled: <Toggled />,
  call: <Call />,
};

/** Of React 19 on: what is hidden keeps its state, and its effects are taken down. */
function Hideable({ children }) {
  const [mode, setMode] = useState('visible');
  window.setMode = setMode;
  return React.Activity ? <React.Activity mode={mode}>{children}</React.Activity> : children;
}

let root;
window.mount = () => {
  root = createRoot(document.getElementById('root'));
  root.render(
    <StrictMode>
      <Boundary>
        <Hideable>
          <TautlineProvider client={make} fallback={asked.has('fallback') ? <i id="fallback" /> : undefined}>
            <Profiler id="page" onRender={() => (seen.commits += 1)}>{KINDS[asked.get('kind') ?? 'display']}</Profiler>
          </TautlineProvider>
        </Hideable>
      </Boundary>
    </StrictMode>,
  );
};
window.unmount = () => root.unmount();
window.held = () => Object.entries(resources.counts()).filter(([, count]) => count > 0);
window.mount();
