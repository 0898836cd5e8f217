/** What a test's orders say of their guests, like nothing else says it: it must be in no log. */
export const PLANTED = { customer_name: 'Wilhelmina Quantrill', customer_phone: '+49 170 5559183', notes: 'allergic to lupin flour' };

/** What somebody says in a call, for the same purpose. */
export const SAID = 'please ring for aunt Philippa Quillonbury';
