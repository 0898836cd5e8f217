import { createElement as h } from 'react';
import { TautlineProvider, useOrders, useTautline, useWebSocketConnection } from 'tautline/react';

function Board() {
  const { state, error } = useWebSocketConnection();
  const { orders: changes } = useTautline();
  const orders = useOrders();
  if (error?.code === 'auth_failed') return h('p', { role: 'alert' }, 'Please log in');
  const confirm = ({ id }) => changes.updateOrderStatus(id, 'confirmed', { optimistic: true }).catch(() => {});
  const row = (order) => h('li', { key: order.id }, `${order.items[0].name}: ${order.status}`, h('button', { onClick: () => confirm(order) }, 'Confirm'));
  return h('main', null, state === 'connected' ? null : h('p', { role: 'status' }, 'Offline'), h('ul', null, orders.map(row)));
}

export const App = ({ client }) => h(TautlineProvider, { client, fallback: h('p', null, 'One moment') }, h(Board));

/** A component that takes a share in the connection and never lets go of it. */
export function Leaky({ manager }) {
  void manager.acquire();
  return null;
}
