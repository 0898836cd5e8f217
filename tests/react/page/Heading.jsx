export function Heading({ count }) {
  return <h1>Kitchen {count}</h1>;
}
