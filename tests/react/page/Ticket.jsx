import { memo } from 'react';

export const Ticket = memo(function Ticket({ order }) {
  window.seen.renders[order.id] = (window.seen.renders[order.id] ?? 0) + 1;
  return <li data-id={order.id} data-status={order.status}>{order.order_number}</li>;
});
