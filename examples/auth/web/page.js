"use strict";

// Empty: the page is the gateway's own, and the browser holds the proof, a cookie that no script reads.
// Otherwise the page is on another origin and holds a bearer token, in memory only.
const gateway = document.querySelector("meta[name=gateway]").content;
let token = "";
let socket = null;

const $ = (selector) => document.querySelector(selector);
const tell = (text) => { $("#status").textContent = text; };

async function ask(path, body) {
	const response = await fetch(gateway + path, {
		method: "POST",
		headers: { "Content-Type": "application/json" },
		credentials: gateway ? "omit" : "same-origin",
		body: JSON.stringify(body),
	});
	const answer = await response.json();
	if (!response.ok) throw new Error(answer.message);
	return answer;
}

$("#login").addEventListener("submit", async (event) => {
	event.preventDefault();
	const { name, password } = event.target.elements;
	const body = { name: name.value, password: password.value };
	try {
		let answer;
		if (!gateway) answer = await ask("/auth/" + event.submitter.value, body);
		else {
			if (event.submitter.value === "signup") await ask("/auth/signup", body);
			answer = await ask("/auth/token", body);
			token = answer.token;
		}
		password.value = "";
		$("#login").hidden = true;
		$("#enter").hidden = false;
		$("#enter").elements.room.value = answer.name;
		tell("You are " + answer.name + ".");
	} catch (error) {
		tell(error.message);
	}
});

$("#enter").addEventListener("submit", (event) => {
	event.preventDefault();
	const room = event.target.elements.room.value;
	if (socket) socket.close();
	const url = new URL("/auth/rooms/" + encodeURIComponent(room), gateway || location.href);
	url.protocol = url.protocol.replace("http", "ws");
	const mine = new WebSocket(url, token ? ["room", "bearer." + token] : ["room"]);
	socket = mine;
	mine.onopen = () => { $("#say").hidden = false; tell("You are in the room of " + room + "."); };
	mine.onclose = (end) => {
		if (socket !== mine) return;
		$("#say").hidden = true;
		tell("You are not in the room of " + room + (end.reason ? ": " + end.reason : "."));
	};
	mine.onmessage = (message) => {
		const { from, text } = JSON.parse(message.data);
		const line = document.createElement("li");
		line.textContent = from + ": " + text; // never as HTML
		$("#said").append(line);
	};
});

$("#say").addEventListener("submit", (event) => {
	event.preventDefault();
	socket.send(event.target.elements.text.value);
	event.target.reset();
});
