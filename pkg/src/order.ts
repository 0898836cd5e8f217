/** An order's state: `new → pending → confirmed → preparing → ready → picked-up → completed`, or `cancelled`. */
export type OrderStatus = 'new' | 'pending' | 'confirmed' | 'preparing' | 'ready' | 'picked-up' | 'completed' | 'cancelled';

/** An item's state: `pending → preparing → ready → served`, or `cancelled`. */
export type ItemStatus = 'pending' | 'preparing' | 'ready' | 'served' | 'cancelled';

/** How an order is handed over; a server may know more kinds. */
export type OrderType = 'dine-in' | 'takeout' | 'delivery' | (string & {});

/** A choice that changes an item and its price. */
export interface Modifier {
  /** Names it in the menu. */
  id: string;
  /** What people read. */
  name: string;
  /** What it adds to the item's price, in the currency's unit, at most two decimals. */
  price?: number;
  /** What it is grouped under. */
  category?: string;
}

/** One line of an order to be made. */
export interface NewItem {
  /** What of the menu it is. */
  menu_item_id: string;
  /** What people read. */
  name: string;
  /** 1 to 999. */
  quantity: number;
  /** Of one, without modifiers, in the currency's unit, at most two decimals. */
  price: number;
  /** Choices that change it, and its price. */
  modifiers?: Modifier[];
  /** For whoever makes it. */
  special_instructions?: string;
  /** Where it is made. */
  station?: string;
}

/**
 * An order to be made. The server makes the id, the times, the status and all sums; a given sum that differs from
 * its own is refused.
 */
export interface NewOrder {
  /** How it is handed over. */
  type: OrderType;
  /** 1 to 200. */
  items: NewItem[];
  /** What is called out; made by the server when absent. */
  order_number?: string;
  /** Where it is served. */
  table_number?: string;
  /** Whose it is at the table. */
  seat_number?: string;
  /** Whom to call. */
  customer_name?: string;
  /** Kept by the server; in no event and no snapshot. */
  customer_phone?: string;
  /** For whoever makes it. */
  notes?: string;
  /** The page's own, at most 4 KiB of JSON. */
  metadata?: Record<string, unknown>;
  /** In the currency's unit. */
  tip?: number;
  /** In the currency's unit; none when absent. */
  tax?: number;
  /** RFC 3339. */
  scheduled_pickup_time?: string;
  /** What the page makes of its items; checked. */
  subtotal?: number;
  /** What the page makes of it all; checked. */
  total?: number;
}

/** One line of an order. */
export interface Item extends Readonly<Omit<NewItem, 'modifiers'>> {
  /** Names it within its order. */
  readonly id: string;
  /** How far it is. */
  readonly status: ItemStatus;
  /** Choices that change it, and its price. */
  readonly modifiers?: readonly Readonly<Modifier>[];
  /** Of all of them, with modifiers. */
  readonly subtotal: number;
}

/**
 * An order of the live set, the engine's own object: frozen by type only, so do not write to it; a change makes a
 * new object. Names are those of the wire, times RFC 3339, amounts in the currency's unit. Orders that a back end
 * publishes itself may lack what it left out.
 */
export interface Order {
  /** Names it among all orders of the restaurant. */
  readonly id: string;
  /** Whose it is. */
  readonly restaurant_id: string;
  /** How far it is. */
  readonly status: OrderStatus;
  /** How it is handed over. */
  readonly type: OrderType;
  /** What is called out. */
  readonly order_number: string;
  /** Its lines. */
  readonly items: readonly Item[];
  /** Where it is served. */
  readonly table_number?: string;
  /** Whose it is at the table. */
  readonly seat_number?: string;
  /** Whom to call. */
  readonly customer_name?: string;
  /** Only in what `fetchOrder` answers, to those who may see it. */
  readonly customer_phone?: string;
  /** For whoever makes it. */
  readonly notes?: string;
  /** What the page or back end that made it has put there. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Of its items. */
  readonly subtotal: number;
  /** On top of them. */
  readonly tax?: number;
  /** On top of all. */
  readonly tip?: number;
  /** What is to be paid. */
  readonly total: number;
  /** Whether it is paid, in the back end's words. */
  readonly payment_status: string;
  /** With what, in the back end's words. */
  readonly payment_method?: string;
  /** Whether somebody with a menu has checked the prices. */
  readonly price_verified: boolean;
  /** Who made it: the `sub` of their token. */
  readonly created_by?: string;
  /** When it was made. */
  readonly created_at: string;
  /** When it changed last. */
  readonly updated_at: string;
  /** When it was completed. */
  readonly completed_at?: string;
  /** When it is thought to be ready. */
  readonly estimated_ready_time?: string;
  /** When it is wanted. */
  readonly scheduled_pickup_time?: string;
  /** Whether it is for later. */
  readonly is_scheduled?: boolean;
}

interface UpdateBase {
  readonly orderId: string;
  /** The event's number in the restaurant's log; `null` from a server that numbers nothing. */
  readonly seq: number | null;
  /** `event`: it happened just now. `snapshot`: it was found by comparing with a snapshot after a disconnect. */
  readonly source: 'event' | 'snapshot';
  /** Of the first snapshot of this object: the order is not new, only new here. */
  readonly initial?: boolean;
}

/** A change of the order set; `action` tells which, and narrows the rest. */
export type OrderUpdate =
  | (UpdateBase & { readonly action: 'created'; readonly order: Order })
  | (UpdateBase & { readonly action: 'updated'; readonly order: Order })
  | (UpdateBase & {
      readonly action: 'deleted';
      /** The order as it last was, if it was known here. */
      readonly order?: Order;
      readonly reason?: string;
    })
  | (UpdateBase & {
      readonly action: 'status_changed';
      /** The order after the change, if it is known here. */
      readonly order?: Order;
      readonly status: OrderStatus;
      readonly previousStatus?: OrderStatus;
      readonly updatedBy?: string;
      readonly reason?: string;
    })
  | (UpdateBase & {
      readonly action: 'item_status_changed';
      /** The order after the change, if it is known here. */
      readonly order?: Order;
      readonly itemId: string;
      readonly status: ItemStatus;
      readonly previousStatus?: ItemStatus;
      readonly updatedBy?: string;
    });

/** Which orders `fetchOrders` asks for; all that the token may see when left out. */
export interface OrdersQuery {
  /** Only these states. */
  status?: OrderStatus | readonly OrderStatus[] | undefined;
  /** Only those changed since. */
  since?: string | Date | undefined;
  /** At most this many on a page. */
  limit?: number | undefined;
  /** The `nextCursor` of the page before. */
  cursor?: string | undefined;
  /** Answer only from a state that has reached this event of the log. */
  minSeq?: number | undefined;
  /** Ends the call; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** One page of `fetchOrders`. */
export interface OrdersPage {
  /** Those of this page. */
  readonly orders: readonly Order[];
  /** Give it as `cursor` for the next page; absent on the last. */
  readonly nextCursor?: string;
}
