// What a server answers: no module is loaded, nothing is connected, and what is drawn is drawn again in the browser.
import { renderToString } from 'react-dom/server';
import { TautlineProvider, useConnectionState, useOrder, useOrders, useOrderUpdates, useVoice, useWebSocketConnection } from 'tautline/react';

function Screen() {
  useOrderUpdates(() => {});
  const said = [useConnectionState(), useWebSocketConnection().state, useOrders({ statuses: 'ready' }).length, String(useOrder('one')), useVoice().state];
  return <p>{said.join(' ')}</p>;
}

const make = () => {
  throw new Error('a client was made on a server');
};

export const pages = () => [
  renderToString(<TautlineProvider client={make}><Screen /></TautlineProvider>),
  renderToString(<TautlineProvider client={make} fallback={<i>soon</i>}><Screen /></TautlineProvider>),
];
